//! The processes on the page for people: who is on which GPU, billed to whom. Called by [`super::page`], where single
//! processes are shown at all.

use super::overview::{Process, Processes};
use super::page::{Bar, Escaped, Reading};
use std::fmt::{self, Write};

/// Writes the table.
pub(super) fn write(out: &mut String, processes: &Processes) -> fmt::Result {
    out.push_str("<h2>Processes <small>on GPUs now</small></h2>\n<div class=\"panel\">\n");
    if processes.rows.is_empty() {
        out.push_str("<p class=\"empty\">There is no process on any GPU.</p>\n</div>\n");
        return Ok(());
    }
    out.push_str(
        "<table>\n<thead><tr><th class=\"number\">GPU</th><th class=\"number\">PID</th><th>Process</th><th>User</th>\
         <th>Billed to</th><th>By rule</th><th class=\"number\">Memory</th><th class=\"number\">Busy</th></tr></thead>\n\
         <tbody>\n",
    );
    processes.rows.iter().try_for_each(|process| row(out, process))?;
    out.push_str("</tbody>\n</table>\n");
    let left = processes.all - processes.rows.len().min(processes.all);
    if left > 0 {
        writeln!(
            out,
            "<p class=\"empty\">And {left} more: <a href=\"/api/v1/processes\">/api/v1/processes</a> lists all.</p>"
        )?;
    }
    out.push_str("</div>\n");
    Ok(())
}

fn row(out: &mut String, process: &Process) -> fmt::Result {
    let owner = process.owner.as_ref();
    let class = if owner.is_none_or(|owner| owner.reserved().is_some()) { " class=\"reserved\"" } else { "" };
    let labels: Vec<&str> = owner.iter().flat_map(|owner| owner.labels()).map(|(_, value)| value).collect();
    let payer = if labels.is_empty() { "–".to_owned() } else { labels.join(" / ") };
    writeln!(
        out,
        "<tr><td class=\"number\">{}</td><td class=\"number\"><a href=\"/api/v1/processes?pid={pid}\">{pid}</a></td>\
         <td>{}<small class=\"id\">{}</small></td><td>{}</td><td{class}>{}</td>\
         <td>{}<small class=\"id\">{}</small></td><td class=\"number\">{}</td><td class=\"number\">{}{}</td></tr>",
        process.gpu,
        Escaped(&process.comm),
        Escaped(&process.workload),
        Escaped(&process.user),
        Escaped(&payer),
        Escaped(&process.rule),
        Escaped(&process.evidence),
        Reading(process.memory_bytes.map(|bytes| bytes / f64::from(1 << 30)), 1, " GiB"),
        Reading(process.utilization_ratio.map(|ratio| ratio * 100.0), 0, " %"),
        Bar(process.utilization_ratio),
        pid = process.pid,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattribute::owner::Owner;

    fn written(processes: &Processes) -> String {
        let mut out = String::new();
        write(&mut out, processes).expect("a string");
        out
    }

    #[test]
    fn a_process_is_a_row_and_nothing_hostile_gets_through() {
        let process = Process {
            gpu: 3,
            pid: 4242,
            comm: "<script>".into(),
            user: "\"><img src=x>".into(),
            owner: Some(Owner::new([("team", "physics"), ("project", "a&b")])),
            rule: "slurm account".into(),
            evidence: "scheduler".into(),
            utilization_ratio: Some(0.5),
            ..Process::default()
        };
        let page = written(&Processes { rows: vec![process], all: 3 });
        for part in ["?pid=4242\">4242</a>", "&lt;script&gt;", "physics / a&amp;b", "50 %", "And 2 more"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("<img"));
    }

    #[test]
    fn who_is_not_billed_yet_has_a_dash() {
        let page = written(&Processes { rows: vec![Process::default()], all: 1 });
        assert!(page.contains("<td class=\"reserved\">–</td>"), "{page}");
        assert!(written(&Processes::default()).contains("no process on any GPU"));
    }
}
