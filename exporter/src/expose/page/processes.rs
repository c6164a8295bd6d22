//! The processes on the page for people: who is on which GPU, billed to whom. Called by [`super::render`], where single
//! processes are shown at all.

use std::fmt::{self, Write};

use super::text::{Bar, Escaped, Name, Payer, gibibytes, percent};
use super::view::{Process, Processes};

/// Writes the section.
pub fn write(out: &mut String, processes: &Processes) -> fmt::Result {
    out.push_str(
        "<section aria-labelledby=\"processes\">\n<h2 id=\"processes\">Processes <small>on GPUs now</small></h2>\n",
    );
    if processes.rows.is_empty() {
        out.push_str("<p class=\"panel empty\">There is no process on any GPU.</p>\n</section>\n");
        return Ok(());
    }
    out.push_str(
        "<div class=\"panel scroll\" role=\"group\" aria-label=\"All columns\" tabindex=\"0\">\n<table>\n\
         <caption class=\"heard\">Processes on GPUs, the busiest first</caption>\n<thead><tr>\
         <th scope=\"col\" class=\"number\">GPU</th><th scope=\"col\" class=\"number\">PID</th>\
         <th scope=\"col\">Process</th><th scope=\"col\">User</th><th scope=\"col\">Billed to</th>\
         <th scope=\"col\">By rule</th><th scope=\"col\" class=\"number\">Memory</th>\
         <th scope=\"col\" class=\"number\">Busy</th></tr></thead>\n<tbody>\n",
    );
    processes.rows.iter().try_for_each(|process| row(out, process))?;
    out.push_str("</tbody>\n</table>\n</div>\n");
    let left = processes.all - processes.rows.len().min(processes.all);
    if left > 0 {
        writeln!(
            out,
            "<p class=\"note\">And {left} more: <a href=\"./api/v1/processes\">the API</a> lists all.</p>"
        )?;
    }
    out.push_str("</section>\n");
    Ok(())
}

fn row(out: &mut String, process: &Process) -> fmt::Result {
    let payer = match &process.owner {
        Some(owner) => Payer(owner).to_string(),
        None => "<span aria-hidden=\"true\">–</span><span class=\"heard\">not known yet</span>".to_owned(),
    };
    writeln!(
        out,
        "<tr data-key=\"{gpu}-{pid}\"><td class=\"number\">{gpu}</td>\
         <th scope=\"row\" class=\"number\"><a href=\"./api/v1/processes?pid={pid}\">{pid}</a></th>\
         <td>{}<small class=\"under\">{}</small></td><td>{}</td><td>{payer}</td>\
         <td>{}<small class=\"under\">{}</small></td><td class=\"number\">{}</td><td class=\"number\">{}{}</td></tr>",
        Name(&process.comm),
        Name(&process.workload),
        Name(&process.user),
        Name(&process.rule),
        Escaped(&process.evidence),
        gibibytes(process.memory_bytes),
        Bar(process.utilization_ratio),
        percent(process.utilization_ratio, 0),
        gpu = process.gpu,
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
        for part in [
            "./api/v1/processes?pid=4242\">4242</a>",
            "&lt;script&gt;",
            "a&amp;b",
            ">50</data>",
            "And 2 more",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("<img"));
    }

    #[test]
    fn who_is_not_billed_yet_has_a_dash() {
        let page = written(&Processes { rows: vec![Process::default()], all: 1 });
        assert!(page.contains("not known yet"), "{page}");
        assert!(written(&Processes::default()).contains("no process on any GPU"));
    }
}
