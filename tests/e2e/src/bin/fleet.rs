//! A thousand GPUs that fifty teams have used, for `rules/prometheus/bench/run`: as exporters would show them, node by
//! node, or as the closed hours of a month that Prometheus would have recorded.
//!
//!     fleet serve ADDRESS N    GET /0 to /124: a node of eight GPUs each, of which N teams have used each
//!     fleet month UNIX INDEX   OpenMetrics on standard output: the 31 days before that time, as the month INDEX

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::str::FromStr;
use std::time::Instant;
use std::{env, thread};

const GPUS_OF_A_NODE: usize = 8;
const TEAMS: usize = 50;
const MODELS: [&str; 2] = ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"];

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address, teams] => serve(&TcpListener::bind(address)?, number(teams)?),
        ["month", until, index] => write_month(number(until)?, index),
        _ => Err(io::Error::other("usage: fleet serve ADDRESS N | fleet month UNIX INDEX")),
    }
}

fn number<T: FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| io::Error::other(format!("{text}: not a whole number")))
}

fn serve(listener: &TcpListener, teams: usize) -> io::Result<()> {
    let began = Instant::now();
    for stream in listener.incoming() {
        let stream = stream?;
        // Prometheus may go away; then so does this connection.
        thread::spawn(move || answer(stream, teams, began));
    }
    Ok(())
}

/// Answers one request after the other on a connection.
fn answer(stream: TcpStream, teams: usize, began: Instant) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = BufWriter::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let node = request.split(['/', ' ']).nth(2).and_then(|node| node.parse().ok()).unwrap_or(0);
        let body = scrape(node, teams, began.elapsed().as_millis());
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body.as_bytes())?;
        stream.flush()?;
    }
}

/// What the exporter of a node shows after so many milliseconds. Writing to a string cannot fail.
fn scrape(node: usize, teams: usize, ms: u128) -> String {
    let mut text = String::from("wattribute_build_info{version=\"0\",revision=\"0\"} 1\n");
    for gpu in 0..GPUS_OF_A_NODE {
        let uuid = format!("GPU-{node:08}-0000-0000-0000-{gpu:012}");
        let model = MODELS[node % 2];
        let mut line = |line: std::fmt::Arguments<'_>| text.write_fmt(line).unwrap_or_default();
        line(format_args!(
            "wattribute_gpu_info{{uuid=\"{uuid}\",gpu=\"{gpu}\",model=\"{model}\",pci_bus_id=\"\",driver_version=\"1\"}} 1\n"
        ));
        line(format_args!("wattribute_gpu_energy_joules_total{{uuid=\"{uuid}\"}} {ms}\n"));
        line(format_args!("wattribute_gpu_last_sample_timestamp_seconds{{uuid=\"{uuid}\"}} {ms}\n"));
        for basis in ["utilization", "mig", "memory", "equal"] {
            let force = u8::from(basis == "utilization");
            line(format_args!("wattribute_gpu_split_basis{{uuid=\"{uuid}\",basis=\"{basis}\"}} {force}\n"));
        }
        for team in (0..teams).map(|team| (node * 3 + gpu + team) % TEAMS) {
            // Every one at a pace of its own, not quite evenly.
            let pace = 1 + (node * 7 + gpu * 5 + team * 3) as u128 % 11;
            let amount = ms * pace + ms % (17 + pace);
            let owner = format!("uuid=\"{uuid}\",team=\"team-{team:02}\",project=\"p\"");
            for kind in ["active", "idle"] {
                line(format_args!(
                    "wattribute_team_energy_joules_total{{{owner},kind=\"{kind}\"}} {}.{:03}\n",
                    amount / 1000,
                    amount % 1000
                ));
            }
            for time in ["held", "busy"] {
                line(format_args!(
                    "wattribute_team_gpu_{time}_seconds_total{{{owner}}} {}.{:06}\n",
                    amount / 9000,
                    amount % 999_983
                ));
            }
        }
    }
    text
}

/// The closed hours of 31 days, three samples each, for the labels that the rules leave.
fn write_month(until: u64, index: &str) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let quantities = [
        ("energy_joules", r#",kind="active""#),
        ("energy_joules", r#",kind="idle""#),
        ("held_seconds", ""),
        ("busy_seconds", ""),
        ("cost", r#",component="electricity",currency="EUR""#),
        ("cost", r#",component="hardware",currency="EUR""#),
        ("idle_cost", r#",component="electricity",currency="EUR""#),
        ("idle_cost", r#",component="hardware",currency="EUR""#),
        ("carbon_grams", ""),
    ];
    for (quantity, more) in quantities {
        for team in 0..TEAMS {
            for model in MODELS {
                for (site, cluster) in [("north", "a"), ("south", "b")] {
                    let labels = format!(
                        "team=\"team-{team:02}\",project=\"p\",model=\"{model}\",site=\"{site}\",cluster=\"{cluster}\"{more},month=\"{index}\""
                    );
                    let name = format!("team_project_model_site:{quantity}:closed_hour");
                    write_hours(&mut out, until, &format!("{name}{{{labels}}}"))?;
                }
            }
        }
    }
    for team in 0..TEAMS {
        let labels = format!("team=\"team-{team:02}\",month=\"{index}\"");
        write_hours(&mut out, until, &format!("team:energy_joules:closed_hour{{{labels}}}"))?;
        write_hours(&mut out, until, &format!("team:cost:closed_hour{{{labels},currency=\"EUR\"}}"))?;
    }
    for cluster in ["a", "b"] {
        let labels = format!("cluster=\"{cluster}\",month=\"{index}\"");
        write_hours(&mut out, until, &format!("cluster:energy_joules:closed_hour{{{labels}}}"))?;
    }
    write_hours(&mut out, until, &format!("fleet:energy_joules:closed_hour{{month=\"{index}\"}}"))?;
    writeln!(out, "# EOF")?;
    out.flush()
}

fn write_hours(out: &mut impl Write, until: u64, series: &str) -> io::Result<()> {
    let last = until / 3600;
    for hour in last - 31 * 24..last {
        for before in [143, 83, 23] {
            writeln!(out, "{series} {}.{before} {}", hour % 977, hour * 3600 - before)?;
        }
    }
    Ok(())
}
