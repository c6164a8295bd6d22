//! How names, numbers and times are written on the page.
//!
//! Numbers carry their exact value in `<data>`, for programs that read the page, and for tests. Names are isolated, so
//! that one written from right to left turns nothing around.

use std::fmt::{self, Write};

use jiff::Zoned;
use wattribute::owner::{Owner, Reserved, TEAM};

use super::view::Colour;

/// Text that cannot become markup.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other => f.write_char(other),
        })
    }
}

/// A name that somebody chose.
pub struct Name<'a>(pub &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<bdi>{}</bdi>", Escaped(self.0))
    }
}

/// An owner: its team, and its other labels in small print.
pub struct Payer<'a>(pub &'a Owner);

impl fmt::Display for Payer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.0.reserved().is_some() { " class=\"reserved\"" } else { "" };
        write!(f, "<b{class}>{}</b>", Name(self.0.team()))?;
        let others = self.0.labels().filter(|(label, _)| *label != TEAM);
        others.enumerate().try_for_each(|(index, (label, value))| {
            let before = if index == 0 { " <small>" } else { " · " };
            write!(f, "{before}{} {}", Escaped(label), Name(value))
        })?;
        f.write_str(if self.0.labels().count() > 1 { "</small>" } else { "" })
    }
}

/// The spot of a colour before a team's name.
pub struct Spot(pub Colour);

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<i class=\"spot {}\"></i>", class(self.0))
    }
}

/// The class of a colour.
pub fn class(colour: Colour) -> &'static str {
    const SLOTS: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];
    match colour {
        Colour::Slot(slot) => SLOTS.get(usize::from(slot)).copied().unwrap_or("others"),
        Colour::Others | Colour::Reserved(Reserved::Overflow) => "others",
        Colour::Reserved(Reserved::Unattributed) => "unattributed",
        Colour::Reserved(_) => "nobody",
    }
}

/// A number: its value, how much a unit of it is shown as, and the digits after the point; a dash where it is unknown.
pub struct Number(pub Option<f64>, pub f64, pub usize);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Some(value), unit, digits) = *self else {
            return f.write_str("<span aria-hidden=\"true\">–</span><span class=\"heard\">unknown</span>");
        };
        write!(f, "<data value=\"{value}\">{:.digits$}</data>", value / unit)
    }
}

/// A number with its unit, which is left out where it is unknown.
pub struct Quantity(pub Number, pub &'static str);

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.0.0.is_some() { self.1 } else { "" };
        write!(f, "{}{unit}", self.0)
    }
}

/// Watts without digits after the point.
pub fn watts(watts: Option<f64>) -> Quantity {
    Quantity(Number(watts, 1.0, 0), "\u{a0}W")
}

/// GPU memory.
pub fn gibibytes(bytes: Option<f64>) -> Quantity {
    Quantity(Number(bytes, f64::from(1 << 30), 1), "\u{a0}GiB")
}

/// A share of 1, in percent.
pub fn percent(ratio: Option<f64>, digits: usize) -> Quantity {
    Quantity(Number(ratio, 0.01, digits), "\u{a0}%")
}

/// A unit of energy for a column: how many joules, its name, and the digits after the point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnergyUnit(pub f64, pub &'static str, pub usize);

/// One unit for all, by the largest, so that a column can be compared.
pub fn energy_unit(largest_joules: f64) -> EnergyUnit {
    match largest_joules / 3600.0 {
        ..10.0 => EnergyUnit(3600.0, "Wh", 2),
        10.0..1000.0 => EnergyUnit(3600.0, "Wh", 1),
        1000.0..1e7 => EnergyUnit(3.6e6, "kWh", 2),
        _ => EnergyUnit(3.6e9, "MWh", 3),
    }
}

/// A bar that is full at 1; nothing where there is no reading. The number stands beside it.
pub struct Bar(pub Option<f64>);

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<(f64, &str)> = self.0.map(|part| (part, "full")).into_iter().collect();
        if parts.is_empty() { Ok(()) } else { Parts(&parts).fmt(f) }
    }
}

/// A bar of several parts, each with a class; full where they add up to 1.
pub struct Parts<'a>(pub &'a [(f64, &'a str)]);

impl fmt::Display for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "<svg class=\"bar\" aria-hidden=\"true\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\">",
        )?;
        let mut begin = 0.0;
        for (part, class) in self.0 {
            let width = part.clamp(0.0, 1.0 - f64::min(begin, 1.0));
            if width > 0.0 {
                let (x, width) = (begin * 100.0, width * 100.0);
                write!(f, "<rect class=\"{class}\" x=\"{x:.1}\" width=\"{width:.1}\" height=\"1\"/>")?;
            }
            begin += width;
        }
        f.write_str("</svg>")
    }
}

/// Part of a whole.
pub fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    Some(part? / whole.filter(|whole| *whole > 0.0)?)
}

/// A time as seen from another: with its day where that is not today.
pub struct Moment<'a>(pub &'a Zoned, pub &'a Zoned);

impl fmt::Display for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time, now) = self;
        let form = if time.date() == now.date() { "%H:%M" } else { "%-d %b %Y, %H:%M" };
        write!(f, "<time datetime=\"{}\">{}</time>", time.timestamp(), time.strftime(form))
    }
}

/// `1 process`, `2 processes`.
pub struct Count(pub usize, pub &'static str, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, many) = self;
        write!(f, "<data value=\"{count}\">{count}</data> {}", if *count == 1 { one } else { many })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: impl fmt::Display, want: &str) {
        assert_eq!(written.to_string(), want);
    }

    #[test]
    fn names_stay_text() {
        check(
            Name("<b onclick='x'>&\"\u{202e}"),
            "<bdi>&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;\u{202e}</bdi>",
        );
        check(Payer(&Owner::new([("team", "<i>")])), "<b><bdi>&lt;i&gt;</bdi></b>");
        let owner = Owner::new([("team", "a"), ("stage", "d&e"), ("project", "</td>")]);
        check(
            Payer(&owner),
            "<b><bdi>a</bdi></b> <small>project <bdi>&lt;/td&gt;</bdi> · stage <bdi>d&amp;e</bdi></small>",
        );
    }

    #[test]
    fn a_number_has_its_exact_value_and_what_is_unknown_is_none() {
        check(watts(Some(612.25)), "<data value=\"612.25\">612</data>\u{a0}W");
        check(percent(Some(0.314), 0), "<data value=\"0.314\">31</data>\u{a0}%");
        check(gibibytes(None), "<span aria-hidden=\"true\">–</span><span class=\"heard\">unknown</span>");
    }

    #[test]
    fn energy_is_readable_at_any_size() {
        for (joules, want) in
            [(0.0, "Wh"), (35_999.0, "Wh"), (3.5e6, "Wh"), (3.6e6, "kWh"), (3.5e10, "kWh"), (3.6e10, "MWh")]
        {
            assert_eq!(energy_unit(joules).1, want, "{joules}");
        }
    }

    #[test]
    fn bars_do_not_overflow() {
        let written = Parts(&[(0.75, "c0"), (0.5, "c1"), (0.1, "c2")]).to_string();
        assert!(
            written.contains("class=\"c1\" x=\"75.0\" width=\"25.0\"") && !written.contains("c2"),
            "{written}"
        );
        check(Bar(None), "");
    }

    #[test]
    fn another_day_is_named() {
        let now: Zoned = "2026-11-21T14:03:05+01:00[Europe/Berlin]".parse().expect("a time");
        let yesterday: Zoned = "2026-11-20T23:59:00+01:00[Europe/Berlin]".parse().expect("a time");
        check(Moment(&now, &now), "<time datetime=\"2026-11-21T13:03:05Z\">14:03</time>");
        check(Moment(&yesterday, &now), "<time datetime=\"2026-11-20T22:59:00Z\">20 Nov 2026, 23:59</time>");
    }
}
