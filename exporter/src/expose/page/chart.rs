//! The chart of power by team: areas on top of each other, drawn here, so that it needs no script. Beside it a legend, and
//! all it says as a table.

use std::fmt::{self, Write};

use super::history::{Band, Chart};
use super::text::{Name, Spot, class, watts};

/// How high the drawing is, in units of its own.
const HEIGHT: f64 = 400.0;
/// The lines that the axis has above zero.
const LINES: usize = 4;

/// Writes the section.
pub fn write(out: &mut String, chart: &Chart) -> fmt::Result {
    out.push_str("<section aria-labelledby=\"chart\">\n<h2 id=\"chart\">Power by team</h2>\n");
    let steps = chart.bands.iter().flat_map(|band| &band.watts).flatten().count();
    if steps < 2 * chart.bands.len() || chart.bands.is_empty() {
        out.push_str("<p class=\"panel empty\">Nothing to draw yet: the chart begins with the first seconds of readings.</p>\n</section>\n");
        return Ok(());
    }
    let axis = Axis::over(highest(&chart.bands));
    out.push_str("<figure class=\"panel chart\">\n");
    drawing(out, chart, &axis)?;
    out.push_str("<figcaption><ul class=\"legend\">");
    for band in &chart.bands {
        write!(out, "<li>{}{}</li>", Spot(band.colour), Name(&band.name))?;
    }
    out.push_str("</ul></figcaption>\n");
    table(out, &chart.bands)?;
    out.push_str("</figure>\n</section>\n");
    Ok(())
}

/// The vertical axis: its steps in watts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    step: f64,
}

impl Axis {
    /// Round steps that reach over the highest value.
    fn over(highest: f64) -> Self {
        let least = (highest / LINES as f64).max(1.0);
        let power = 10_f64.powf(least.log10().floor());
        let factor = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|factor| factor * power >= least);
        Self { step: factor.unwrap_or(10.0) * power }
    }

    fn top(self) -> f64 {
        self.step * LINES as f64
    }

    fn label(self, line: usize) -> String {
        let watts = self.step * line as f64;
        if self.top() < 10_000.0 { format!("{watts} W") } else { format!("{} kW", watts / 1000.0) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "from 0 to the height")]
    fn y(self, watts: f64) -> i64 {
        (HEIGHT - watts / self.top() * HEIGHT).round() as i64
    }
}

fn highest(bands: &[Band]) -> f64 {
    let sums = sums(bands);
    sums.last().map_or(0.0, |top| top.iter().flatten().copied().fold(0.0, f64::max))
}

/// For each band the watts of it and of those below.
fn sums(bands: &[Band]) -> Vec<Vec<Option<f64>>> {
    let mut below: Vec<Option<f64>> = Vec::new();
    let mut sums = Vec::new();
    for band in bands {
        below.resize(band.watts.len(), None);
        for (sum, watts) in below.iter_mut().zip(&band.watts) {
            *sum = watts.map(|watts| sum.unwrap_or(0.0) + watts);
        }
        sums.push(below.clone());
    }
    sums
}

fn drawing(out: &mut String, chart: &Chart, axis: &Axis) -> fmt::Result {
    let (first, last) = (span(chart.seconds), chart.bands.first().map_or(0, |band| band.watts.len() - 1));
    out.push_str("<div class=\"plot\">\n<div class=\"y\" aria-hidden=\"true\">");
    (0..=LINES).rev().try_for_each(|line| write!(out, "<span>{}</span>", axis.label(line)))?;
    write!(
        out,
        "</div>\n<svg role=\"img\" aria-labelledby=\"drawn drawing\" viewBox=\"0 0 {last} {HEIGHT}\" \
         preserveAspectRatio=\"none\">\n<title id=\"drawn\">Power by team over the last {first}</title>\n\
         <desc id=\"drawing\">Areas on top of each other, one for each team; up to {} W together. \
         The same as numbers: in the table below.</desc>\n",
        highest(&chart.bands).round()
    )?;
    // From the highest down: each covers the lower part of the one before.
    for (band, sums) in chart.bands.iter().zip(sums(&chart.bands)).rev() {
        write!(out, "<path class=\"{}\" d=\"", class(band.colour))?;
        area(out, &sums, axis)?;
        out.push_str("\"/>\n");
    }
    for line in 1..LINES {
        let y = axis.y(axis.step * line as f64);
        write!(out, "<path class=\"line\" d=\"M0 {y}H{last}\"/>")?;
    }
    out.push_str("\n</svg>\n<div class=\"x\" aria-hidden=\"true\">");
    for part in (1..=3).rev() {
        write!(out, "<span>{} ago</span>", span(chart.seconds * f64::from(part) / 3.0))?;
    }
    out.push_str("<span>now</span></div>\n</div>\n");
    Ok(())
}

/// One area for each stretch without a gap, down to the ground.
fn area(out: &mut String, sums: &[Option<f64>], axis: &Axis) -> fmt::Result {
    let ground = axis.y(0.0);
    let mut last: Option<i64> = None;
    for (x, sum) in sums.iter().enumerate() {
        let y = sum.map(|sum| axis.y(sum));
        match (last, y) {
            (None, Some(y)) => write!(out, "M{x} {ground}V{y}")?,
            (Some(last), Some(y)) => write!(out, "l1 {}", y - last)?,
            (Some(_), None) => write!(out, "V{ground}Z")?,
            (None, None) => {}
        }
        last = y;
    }
    if last.is_some() { write!(out, "V{ground}Z") } else { Ok(()) }
}

fn table(out: &mut String, bands: &[Band]) -> fmt::Result {
    out.push_str(
        "<details><summary>The chart as a table</summary>\n<table>\n<caption class=\"heard\">Power by team over the time \
         of the chart</caption>\n<thead><tr><th scope=\"col\">Team</th><th scope=\"col\" class=\"number\">Least</th>\
         <th scope=\"col\" class=\"number\">Mean</th><th scope=\"col\" class=\"number\">Most</th>\
         <th scope=\"col\" class=\"number\">Last</th></tr></thead>\n<tbody>\n",
    );
    for band in bands {
        let known: Vec<f64> = band.watts.iter().flatten().copied().collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        writeln!(
            out,
            "<tr><th scope=\"row\">{}{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
            Spot(band.colour),
            Name(&band.name),
            watts(known.iter().copied().reduce(f64::min)),
            watts(Some(mean).filter(|_| !known.is_empty())),
            watts(known.iter().copied().reduce(f64::max)),
            watts(band.watts.last().copied().flatten()),
        )?;
    }
    out.push_str("</tbody>\n</table>\n</details>\n");
    Ok(())
}

/// A length of time as people say it.
fn span(seconds: f64) -> String {
    let minutes = seconds / 60.0;
    match minutes {
        ..2.0 => format!("{seconds:.0} s"),
        2.0..120.0 => format!("{minutes:.0} min"),
        _ => format!("{:.1} h", minutes / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::Colour;
    use super::*;

    fn band(name: &str, watts: &[Option<f64>]) -> Band {
        Band { name: name.into(), colour: Colour::Slot(0), watts: watts.to_vec() }
    }

    #[test]
    fn the_axis_has_round_steps_above_the_highest_value() {
        for (highest, step, label) in [
            (0.0, 1.0, "4 W"),
            (350.0, 100.0, "400 W"),
            (1900.0, 500.0, "2000 W"),
            (39_000.0, 10_000.0, "40 kW"),
        ] {
            let axis = Axis::over(highest);
            assert_eq!((axis.step, axis.label(LINES).as_str()), (step, label), "{highest}");
        }
    }

    #[test]
    fn areas_lie_on_top_of_each_other_and_a_gap_stays_one() {
        let bands = [
            band("a", &[Some(1.0), Some(1.0), None, Some(2.0)]),
            band("b", &[Some(1.0), Some(3.0), None, Some(2.0)]),
        ];
        let mut out = String::new();
        let sums = sums(&bands);
        area(&mut out, &sums[1], &Axis { step: 1.0 }).expect("a string");
        assert_eq!(out, "M0 400V200l1 -200V400ZM3 400V0V400Z");
    }

    #[test]
    fn without_two_steps_nothing_is_drawn() {
        for bands in [vec![], vec![band("a", &[None, Some(1.0)])]] {
            let mut out = String::new();
            write(&mut out, &Chart { seconds: 55.0, bands }).expect("a string");
            assert!(out.contains("Nothing to draw yet") && !out.contains("<svg"), "{out}");
        }
    }
}
