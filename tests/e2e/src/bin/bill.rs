//! What a report of a large site costs: a server that makes up its answers as they are asked for, and `wattribute report`
//! in front of it, whose memory and time are printed.
//!
//! `cargo run --release -p wattribute-e2e --bin bill -- GPUS TEAMS HOURS`: so many teams have series on each GPU, of fifty in
//! all; a sample each 30 s. See docs/performance.md.

#![expect(clippy::expect_used, clippy::panic, reason = "who measures wants to know what went wrong")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wattribute_e2e::{Scratch, wattribute};

/// 2024-10-01T00:00:00Z, where the period begins.
const BEGIN: i64 = 1_727_740_800;
const STEP: i64 = 30;
const TEAMS: usize = 50;
const PRICES: &str = "currency: EUR\ntime_zone: UTC\nsites:\n  default:\n    electricity: [{from: 2024-01-01, per_kwh: 0.3}]\n    \
     pue: [{from: 2024-01-01, ratio: 1.2}]\nhardware:\n  - {model: H100, rates: [{from: 2024-01-01, per_hour: 2}]}\n";

#[derive(Clone, Copy)]
struct Site {
    gpus: usize,
    /// How many teams have series on each GPU.
    teams: usize,
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let mut number = |default| numbers.next().unwrap_or(default);
    let site = Site { gpus: number(1000), teams: number(2) };
    let hours = i64::try_from(number(744)).expect("hours");
    let address = serve(site);
    let scratch = Scratch::new("bill");
    fs::write(scratch.path("prices.yaml"), PRICES).expect("written");
    let time =
        |seconds: i64| format!("{}-{:02}T{:02}:00Z", "2024-10", 1 + seconds / 86_400, seconds / 3600 % 24);
    let to = if hours == 744 { "2024-11-01T00:00Z".into() } else { time(hours * 3600) };
    let begun = Instant::now();
    let mut child = Command::new(wattribute())
        .args(["report", &format!("--prometheus=http://{address}"), "--from", &time(0), "--to", &to])
        .arg("--prices")
        .arg(scratch.path("prices.yaml"))
        .arg("--out")
        .arg(scratch.path("out"))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    println!("{} GPUs, {} of {TEAMS} teams on each, {hours} hours", site.gpus, site.teams);
    let mut shown = Instant::now();
    let mut last = String::new();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        let now = usage(child.id());
        if !now.is_empty() {
            last = now;
        }
        if shown.elapsed() > Duration::from_secs(30) {
            println!("{:>6} s  {last}", begun.elapsed().as_secs());
            shown = Instant::now();
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
    println!("{:>6} s  {last}  done", begun.elapsed().as_secs());
    for file in fs::read_dir(scratch.path("out")).expect("a folder").flatten() {
        println!(
            "{:>12} bytes  {}",
            file.metadata().expect("a file").len(),
            file.file_name().to_string_lossy()
        );
    }
}

/// The most memory that it had, and the processor time that it used.
fn usage(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<u64> =
        stat.rsplit(") ").next().unwrap_or("").split(' ').filter_map(|field| field.parse().ok()).collect();
    // Of the fields after the name, the state is no number: utime and stime are the 10th and 11th numbers.
    let ticks = fields.get(9).zip(fields.get(10)).map(|(user, system)| user + system);
    peak.zip(ticks).map_or(String::new(), |(peak, ticks)| {
        format!("peak {}, {} s of processor", peak.trim(), ticks / 100)
    })
}

fn serve(site: Site) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer_all(&stream, site));
        }
    });
    address
}

/// Answers one question after another, until the asker has gone.
fn answer_all(stream: &TcpStream, site: Site) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        loop {
            let before = head.len();
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
            if head[before..].trim().is_empty() {
                break;
            }
        }
        let target = unescape(head.split(' ').nth(1).unwrap_or(""));
        let body = answer(&target, site);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut writer = stream;
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&body)).is_err() {
            return;
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = vec![];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let digits: Vec<u8> = if byte == b'%' { bytes.by_ref().take(2).collect() } else { vec![] };
        let code = std::str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(code.unwrap_or(byte));
    }
    String::from_utf8(out).expect("text")
}

fn answer(target: &str, site: Site) -> Vec<u8> {
    let uuid = |gpu: usize| format!("GPU-{gpu:05}");
    let list = |items: Vec<String>| {
        format!("{{\"status\":\"success\",\"data\":[{}]}}", items.join(",")).into_bytes()
    };
    let all = 0..site.gpus;
    if target.starts_with("/api/v1/label/") {
        return list(all.map(|gpu| format!("\"{}\"", uuid(gpu))).collect());
    }
    if target.starts_with("/api/v1/series") {
        let model = if target.contains("gpu_info") { ",\"model\":\"H100\"" } else { "" };
        return list(all.map(|gpu| format!("{{\"uuid\":\"{}\",{}{model}}}", uuid(gpu), node(gpu))).collect());
    }
    let mut out = String::from("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[");
    let range = target
        .split_once("[")
        .and_then(|(_, rest)| rest.split_once("ms]"))
        .filter(|_| !target.contains("last_over_time"));
    if let Some((range, rest)) = range {
        let range: i64 = range.parse().expect("milliseconds");
        let until = rest.split("time=").nth(1).and_then(|text| text.split(['.', '&']).next());
        let until: i64 = until.and_then(|text| text.parse().ok()).expect("a time");
        let uuids = target.split("uuid=~\"").nth(1).and_then(|text| text.split('"').next()).unwrap_or("");
        for uuid in uuids.split('|') {
            let gpu: usize = uuid.trim_start_matches("GPU-").parse().expect("a GPU");
            series_of(&mut out, site, gpu, (until - range / 1000, until));
        }
        if out.ends_with(',') {
            out.pop();
        }
    }
    out.push_str("]}}");
    out.into_bytes()
}

/// The labels of the target of a GPU.
fn node(gpu: usize) -> String {
    format!("\"instance\":\"node{}:19288\",\"job\":\"wattribute\"", gpu / 8)
}

/// Every series of a GPU after one time, up to and with another: 500 W, evenly among its teams.
fn series_of(out: &mut String, site: Site, gpu: usize, window: (i64, i64)) {
    let node = node(gpu);
    let mut series = |name: &str, labels: &str, per_step: u64, digits: u32| {
        let _ = write!(
            out,
            "{{\"metric\":{{\"__name__\":\"wattribute_{name}\",\"uuid\":\"GPU-{gpu:05}\",{node}{labels}}},\"values\":["
        );
        let first = window.0 - window.0.rem_euclid(STEP) + STEP;
        for time in (first..=window.1).step_by(30) {
            let steps = u64::try_from((time - BEGIN) / STEP + 1000).expect("later");
            out.push('[');
            push(out, u64::try_from(time).expect("after 1970"));
            out.push_str(",\"");
            let (value, one) = (steps * per_step, 10_u64.pow(digits));
            push(out, value / one);
            out.push('.');
            push(out, value % one + one);
            // The leading 1 keeps the zeros of the fraction.
            let dot = out.rfind('.').expect("a point");
            out.remove(dot + 1);
            out.push_str("\"],");
        }
        if out.ends_with(',') {
            out.pop();
        }
        out.push_str("]},");
    };
    let share = u64::try_from(site.teams).expect("few");
    let (active, idle) = (12_000_000 / share, 3_000_000 / share);
    series("gpu_energy_joules_total", "", (active + idle) * share, 3);
    for team in 0..site.teams {
        let owner = format!(",\"team\":\"team{:02}\",\"project\":\"p\"", (gpu * 7 + team) % TEAMS);
        series("team_energy_joules_total", &format!("{owner},\"kind\":\"active\""), active, 3);
        series("team_energy_joules_total", &format!("{owner},\"kind\":\"idle\""), idle, 3);
        series("team_energy_estimated_joules_total", &owner, 0, 3);
        series("team_gpu_held_seconds_total", &owner, 30_000_000 / share, 6);
        series("team_gpu_busy_seconds_total", &owner, 20_000_000 / share, 6);
    }
}

fn push(out: &mut String, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_else(|_| panic!("digits")));
}
