//! The GPUs on the page: a card for each, with what it does and who is on it.

use std::fmt::{self, Write};

use super::text::{
    Bar, Count, Escaped, Moment, Name, Number, Parts, Payer, Quantity, Spot, class, gibibytes, percent,
    share, watts,
};
use super::view::{Gpu, User, View};

/// Owners that a card has room for.
const USERS: usize = 4;

/// Writes the section.
pub fn write(out: &mut String, view: &View) -> fmt::Result {
    out.push_str("<section aria-labelledby=\"gpus\">\n<h2 id=\"gpus\">GPUs</h2>\n");
    if view.gpus.is_empty() {
        out.push_str("<p class=\"panel empty\">No GPU has been seen yet.</p>\n</section>\n");
        return Ok(());
    }
    out.push_str("<ul class=\"gpus\">\n");
    view.gpus.iter().try_for_each(|gpu| card(out, gpu, view))?;
    out.push_str("</ul>\n</section>\n");
    Ok(())
}

fn card(out: &mut String, gpu: &Gpu, view: &View) -> fmt::Result {
    let (class, state) = if gpu.is_up { ("up", "up") } else { ("down", "no answer") };
    writeln!(
        out,
        "<li class=\"panel gpu {class}\" data-key=\"{uuid}\"><h3>GPU {} <span class=\"state\">{state}</span></h3>\n\
         <p class=\"model\">{} <small class=\"id\">{uuid}</small></p>",
        gpu.index,
        Name(&gpu.model),
        uuid = Escaped(&gpu.uuid),
    )?;
    if gpu.is_up {
        readings(out, gpu)?;
        users(out, gpu)?;
    } else {
        silence(out, gpu, view)?;
    }
    out.push_str("</li>\n");
    Ok(())
}

fn silence(out: &mut String, gpu: &Gpu, view: &View) -> fmt::Result {
    match &gpu.heard {
        Some(heard) => writeln!(
            out,
            "<p>It last answered at {}. What it draws since then is booked when it answers again.</p>",
            Moment(heard, &view.now)
        ),
        None => {
            out.push_str("<p>It has not answered yet.</p>\n");
            Ok(())
        }
    }
}

fn readings(out: &mut String, gpu: &Gpu) -> fmt::Result {
    let of = |whole: Quantity| match whole.0.0 {
        Some(_) => format!(" <small>of {whole}</small>"),
        None => String::new(),
    };
    writeln!(
        out,
        "<dl>\n<div class=\"power\"><dt>Power</dt><dd>{}{}</dd>{}</div>\n<div><dt>Utilisation</dt><dd>{}</dd>{}</div>\n\
         <div><dt>Memory</dt><dd>{}{}</dd>{}</div>\n<div><dt>Temperature</dt><dd>{}</dd></div>\n</dl>",
        watts(gpu.power_watts),
        of(watts(gpu.power_limit_watts)),
        Parts(&power_parts(gpu)),
        percent(gpu.utilization_ratio, 0),
        Bar(gpu.utilization_ratio),
        gibibytes(gpu.memory_used_bytes),
        of(gibibytes(gpu.memory_total_bytes)),
        Bar(share(gpu.memory_used_bytes, gpu.memory_total_bytes)),
        Quantity(Number(gpu.temperature_celsius, 1.0, 0), "\u{a0}°C"),
    )
}

/// The power of the limit, in the colours of those who draw it.
fn power_parts(gpu: &Gpu) -> Vec<(f64, &'static str)> {
    let Some(filled) = share(gpu.power_watts, gpu.power_limit_watts) else { return Vec::new() };
    let all: f64 = gpu.users.iter().filter_map(|user| user.watts).sum();
    if all <= 0.0 {
        return vec![(filled, "full")];
    }
    gpu.users.iter().map(|user| (user.watts.unwrap_or(0.0) / all * filled, class(user.colour))).collect()
}

fn users(out: &mut String, gpu: &Gpu) -> fmt::Result {
    if gpu.users.is_empty() {
        out.push_str("<p class=\"who\">Nobody is on it.</p>\n");
        return Ok(());
    }
    let (shown, rest) = gpu.users.split_at(gpu.users.len().min(USERS));
    out.push_str("<ul class=\"who\">\n");
    shown.iter().try_for_each(|user| line(out, user))?;
    if !rest.is_empty() {
        let drawn: f64 = rest.iter().filter_map(|user| user.watts).sum();
        writeln!(out, "<li><span>and {} more</span><span>{}</span></li>", rest.len(), watts(Some(drawn)))?;
    }
    out.push_str("</ul>\n");
    if let Some(basis) = gpu.estimated_by {
        writeln!(
            out,
            "<p class=\"note\">Estimated: divided by {basis}, for want of utilisation by process.</p>"
        )?;
    }
    Ok(())
}

fn line(out: &mut String, user: &User) -> fmt::Result {
    write!(out, "<li><span>{}{}", Spot(user.colour), Payer(&user.owner))?;
    if user.processes > 0 {
        write!(out, " <small class=\"count\">· {}</small>", Count(user.processes, "process", "processes"))?;
    }
    writeln!(out, "</span><span>{}</span></li>", watts(user.watts))
}
