//! The site behind a web configuration file: who is let in, and to what. TLS is tested by `tests/e2e/tests/web`.

use super::fixture::EveryMetric;
use super::http_tests::{check, site, start};
use super::routes::{Reload, Site};
use crate::web::door::Door;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of the page, where single processes are shown.
const PROCESSES: &str = "<h2 id=\"processes\">";

/// bcrypt of "secret" and of "other", of cost 4.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).expect("a hash")
}

fn write(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("wattribute-door-{name}-{}.yml", std::process::id()));
    std::fs::write(&path, text).expect("a file");
    path
}

fn behind(file: &Path) -> Site {
    Site { door: Arc::new(Door::new(Some(file.into())).expect("a good file")), ..site(EveryMetric) }
}

/// "ann:" and a password, as a header.
fn ann(password: &str) -> String {
    use base64::Engine;
    let word = base64::engine::general_purpose::STANDARD.encode(format!("ann:{password}"));
    format!("Authorization: Basic {word}\r\n")
}

#[test]
fn without_the_password_there_is_health_and_nothing_else() {
    let file = write("health", &format!("basic_auth_users: {{ann: {:?}}}", hash("secret")));
    let running = start(behind(&file));
    for path in ["/metrics", "/", "/api/v1/processes", "/nowhere", "/-/healthy/", "/-/reload", "//-/healthy"]
    {
        let answer = running.ask(&format!("GET {path}"), "");
        check(&answer, 401, &["www-authenticate: Basic\r\n", "\r\n\r\nUnauthorized\n"]);
    }
    check(&running.ask("GET /-/healthy", ""), 200, &["wattribute is healthy\n"]);
    check(&running.ask("GET /-/ready", ""), 503, &["not ready: the first complete sample is not in\n"]);
    check(&running.ask("GET /metrics", &ann("secret")), 200, &["wattribute_gpu_up{"]);
    check(&running.ask("GET /metrics", &ann("secret").replace("Basic", "bASIC")), 200, &[]);
    for wrong in ["Basic", "Basic YW5u", "Basic !!!!", "Bearer secret", "Basic", "basic  "] {
        check(&running.ask("GET /metrics", &format!("Authorization: {wrong}\r\n")), 401, &[]);
    }
    check(&running.ask("GET /metrics", &ann("Secret")), 401, &[]);
}

#[test]
fn with_the_password_there_are_single_processes_and_reloads() {
    let (reload, mut requests) = tokio::sync::mpsc::channel::<Reload>(1);
    let file = write("rights", &format!("basic_auth_users: {{ann: {:?}}}", hash("secret")));
    let site = Site { reload, ..behind(&file) };
    let running = start(site);
    check(&running.ask("GET /api/v1/processes", &ann("secret")), 200, &[]);
    check(&running.ask("GET /", &ann("secret")), 200, &[PROCESSES]);
    let answer = std::thread::spawn(move || {
        requests.blocking_recv().expect("a request").send(Ok(())).expect("it is awaited");
    });
    // A page of another site could make a browser ask, with the password that it remembers.
    let cross = format!("{}Sec-Fetch-Site: cross-site\r\n", ann("secret"));
    check(&running.ask("POST /-/reload", &cross), 403, &["another site's page"]);
    check(&running.ask("POST /-/reload", &ann("secret")), 200, &["reloaded\n"]);
    answer.join().expect("one request");
}

#[test]
fn without_a_file_the_page_has_no_processes() {
    let page = start(site(EveryMetric)).ask("GET /", "");
    check(&page, 200, &[]);
    assert!(!page.contains(PROCESSES));
}

#[test]
fn headers_are_on_every_answer_but_the_page_keeps_its_own_policy() {
    let headers =
        "{X-Frame-Options: deny, X-XSS-Protection: '1', Content-Security-Policy: \"default-src 'self'\"}";
    let file = write("headers", &format!("http_server_config: {{headers: {headers}}}"));
    let running = start(behind(&file));
    let all = [
        "x-frame-options: deny\r\n",
        "x-xss-protection: 1\r\n",
        "content-security-policy: default-src 'self'\r\n",
    ];
    check(&running.ask("GET /metrics", ""), 200, &all);
    check(&running.ask("GET /nowhere", ""), 404, &all);
    check(&running.ask("GET /-/healthy", ""), 200, &all);
    let page = running.ask("GET /", "");
    check(&page, 200, &all[..2]);
    check(&page, 200, &["content-security-policy: default-src 'none'"]);
}

#[test]
fn too_many_requests_are_429_but_health_is_told() {
    let file = write("rate", "rate_limit: {interval: 1h, burst: 2}");
    let running = start(behind(&file));
    check(&running.ask("GET /metrics", ""), 200, &[]);
    check(&running.ask("GET /metrics", ""), 200, &[]);
    check(&running.ask("GET /metrics", ""), 429, &["\r\n\r\nToo Many Requests\n"]);
    check(&running.ask("GET /-/healthy", ""), 200, &[]);
}

#[test]
fn a_changed_file_is_in_force_and_a_bad_one_is_not() {
    let with = |password: &str| format!("basic_auth_users: {{ann: {:?}}}", hash(password));
    let file = write("change", &with("secret"));
    let site = behind(&file);
    let door = Arc::clone(&site.door);
    let running = start(site);
    let may = |password: &str, status: u16| check(&running.ask("GET /metrics", &ann(password)), status, &[]);
    may("secret", 200);
    write("change", &with("other"));
    door.look();
    may("other", 200);
    may("secret", 401);
    // What is half written, or would let everybody in, must not be believed.
    for bad in ["", "basic_auth_users: {ann: x}", "{}", "rate_limit: {interval: 0}", "basic_auth_users:"] {
        write("change", bad);
        door.look();
        may("other", 200);
        check(&running.ask("GET /metrics", ""), 401, &[]);
    }
    std::fs::remove_file(&file).expect("it is there");
    door.look();
    may("other", 200);
    write("change", &with("secret"));
    door.look();
    may("secret", 200);
}
