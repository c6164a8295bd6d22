//! The page with its script, behind a proxy that has it below a path and says what is answered when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use wattribute_e2e::{PATIENCE, Response, eventually, get};

use super::browser::{Seen, look, values};
use super::proxy::{PATH, Proxy};
use super::{Setting, begin};

/// Long enough for the page to be fetched anew, twice.
const A_WHILE: u32 = 10_000;

/// The pages that were answered.
type Served = Arc<Mutex<Vec<String>>>;

/// When the snapshot of a page was taken.
#[track_caller]
fn time(page: &str) -> &str {
    let time = page.split_once("As of <time datetime=\"").and_then(|(_, rest)| rest.split_once('"'));
    time.unwrap_or_else(|| panic!("no time in {page}")).0
}

/// A page with another time than the last one that was served.
fn newer(exporter: SocketAddr, first: Response, served: &Served) -> Response {
    let last = served.lock().expect("no other test has it").last().cloned();
    let is_new = |page: &Response| last.as_ref().is_none_or(|last| time(last) != time(&page.text()));
    let mut page = Some(first).filter(is_new);
    let page = eventually(PATIENCE, "a new snapshot", || {
        page.take().or_else(|| get(exporter, "/", &[]).ok().filter(is_new))
    });
    served.lock().expect("no other test has it").push(page.text());
    page
}

/// Lets the first page run a script of the test beside its own.
fn meddle(page: &mut Response, script: &str) {
    page.headers.retain(|(name, _)| name != "content-security-policy");
    page.body = page.text().replace("</body>", &format!("<script>{script}</script></body>")).into_bytes();
}

/// What becomes of the page in a while, where its first answer has this script, and how many answers there were.
fn watch(setting: &Setting, script: &'static str) -> (Seen, Vec<String>) {
    let (served, exporter) = (Served::default(), setting.exporter.address());
    let own = Arc::clone(&served);
    let change = move |number, answer| {
        let mut page = newer(exporter, answer, &own);
        if number == 1 && !script.is_empty() {
            meddle(&mut page, script);
        }
        page
    };
    let proxy = Proxy::before(exporter, Box::new(change));
    let seen = look(&setting.scratch, &proxy.page(), A_WHILE);
    assert_eq!(seen.complaints, [] as [String; 0]);
    let elsewhere = proxy.requests().into_iter().filter(|path| !path.starts_with(PATH));
    assert!(elsewhere.clone().all(|path| path == "/favicon.ico"), "{:?}", elsewhere.collect::<Vec<_>>());
    let served = served.lock().expect("the browser has gone").clone();
    (seen, served)
}

#[test]
fn it_stays_current_below_any_path() {
    let setting = begin("page-live");
    let (seen, served) = watch(&setting, "");
    assert!(served.len() >= 3, "it was fetched {} times", served.len());
    assert_eq!(seen.part("role=\"status\">", "<"), "Live");
    let shown = served.iter().position(|page| time(page) == time(&seen.document));
    let shown = shown.expect("the page is one of those that were served");
    assert!(shown > 0, "nothing has changed");
    let main = |page: &str| page.split_once("<main").map(|(_, rest)| rest.to_owned()).expect("a page");
    assert_eq!(values(&main(&seen.document)), values(&main(&served[shown])));
    assert_ne!(values(&main(&served[0])), values(&main(&served[shown])));
}

#[test]
fn what_the_reader_is_at_stays() {
    let setting = begin("page-focus");
    eventually(PATIENCE, "there is a chart, and a table of it to be opened", || {
        setting.exporter.get("/", &[]).ok().filter(|page| page.text().contains("<details")).map(drop)
    });
    let script = "const link = [...document.querySelectorAll('#main tbody a')].pop(); link.focus();
        const details = document.querySelector('#main details'); details.open = true; scrollTo(0, 120);
        setInterval(() => { document.body.dataset.at = [document.activeElement === link, link.isConnected,
            details.open && details.isConnected, scrollY].join(' '); }, 250);";
    let (seen, served) = watch(&setting, script);
    assert_ne!(time(&seen.document), time(&served[0]));
    assert_eq!(seen.part("data-at=\"", "\""), "true true true 120");
}

#[test]
fn a_selection_and_a_pause_hold_it() {
    let setting = begin("page-held");
    let select = "getSelection().selectAllChildren(document.getElementById('gpus'));";
    let (seen, served) = watch(&setting, select);
    assert_eq!(time(&seen.document), time(&served[0]));
    assert!(served.len() > 1);

    let pause = "document.getElementById('pause').click();";
    let (seen, served) = watch(&setting, pause);
    assert_eq!(served.len(), 1);
    assert_eq!(
        (seen.part("role=\"status\">", "<"), seen.part("id=\"pause\" type=\"button\">", "<")),
        ("Paused", "Go on")
    );
}

#[test]
fn an_exporter_that_is_gone_is_said() {
    let setting = begin("page-lost");
    let change = |number, answer: Response| match number {
        1 => answer,
        _ => Response { status: 503, headers: vec![], body: b"too many".to_vec() },
    };
    let proxy = Proxy::before(setting.exporter.address(), Box::new(change));
    let seen = look(&setting.scratch, &proxy.page(), A_WHILE);
    assert_eq!(seen.part("role=\"status\">", "<"), "No connection: the values are old");
}
