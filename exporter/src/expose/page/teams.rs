//! The teams on the page: what each draws now, and what it drew since midnight.

use std::fmt::{self, Write};

use super::text::{Bar, EnergyUnit, Moment, Number, Payer, Spot, energy_unit, percent, share, watts};
use super::view::{Because, Team, Teams, View};

/// Writes the section.
pub fn write(out: &mut String, view: &View) -> fmt::Result {
    let teams = &view.teams;
    writeln!(
        out,
        "<section aria-labelledby=\"teams\">\n<h2 id=\"teams\">Teams <small>over all GPUs of this machine, {}</small></h2>\n\
         <div class=\"panel\">",
        Since(view)
    )?;
    if teams.rows.is_empty() {
        out.push_str("<p class=\"empty\">Nothing has been booked yet.</p>\n</div>\n</section>\n");
        return Ok(());
    }
    let unit = energy_unit(teams.sum.joules);
    write!(
        out,
        "<table class=\"teams\">\n<caption class=\"heard\">Power now and energy {} by team</caption>\n<thead><tr>\
         <th scope=\"col\">Team</th><th scope=\"col\" class=\"number\">Now</th>\
         <th scope=\"col\" class=\"number\">Energy, {}</th><th scope=\"col\" class=\"number wide\">Share</th>\
         <th scope=\"col\" class=\"number wide\">GPUs</th><th scope=\"col\" class=\"number wide\">Processes</th>\
         </tr></thead>\n<tbody>\n",
        Since(view),
        unit.1
    )?;
    teams.rows.iter().try_for_each(|team| row(out, team, teams, unit))?;
    out.push_str("</tbody>\n");
    foot(out, teams, unit)?;
    out.push_str("</table>\n</div>\n</section>\n");
    Ok(())
}

fn row(out: &mut String, team: &Team, teams: &Teams, unit: EnergyUnit) -> fmt::Result {
    let part = share(Some(team.joules), Some(teams.sum.joules));
    write!(out, "<tr><th scope=\"row\">{}{}</th>", Spot(team.colour), Payer(&team.owner))?;
    numbers(out, team, unit)?;
    writeln!(out, "<td class=\"number wide\">{}{}</td>{}</tr>", Bar(part), percent(part, 1), Places(team))
}

fn foot(out: &mut String, teams: &Teams, unit: EnergyUnit) -> fmt::Result {
    out.push_str("<tfoot>");
    if teams.left > 0 {
        writeln!(out, "<tr><td colspan=\"6\">and {} more, which the metrics have</td></tr>", teams.left)?;
    }
    out.push_str("<tr><th scope=\"row\">Together</th>");
    numbers(out, &teams.sum, unit)?;
    writeln!(out, "<td class=\"wide\"></td>{}</tr></tfoot>", Places(&teams.sum))
}

fn numbers(out: &mut String, team: &Team, unit: EnergyUnit) -> fmt::Result {
    let EnergyUnit(joules, _, digits) = unit;
    let energy = Number(Some(team.joules), joules, digits);
    write!(out, "<td class=\"number\">{}</td><td class=\"number\">{energy}</td>", watts(team.watts))
}

struct Places<'a>(&'a Team);

impl fmt::Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Team { gpus, processes, .. } = self.0;
        write!(
            f,
            "<td class=\"number wide\"><data value=\"{gpus}\">{gpus}</data></td>\
             <td class=\"number wide\"><data value=\"{processes}\">{processes}</data></td>"
        )
    }
}

/// Since when energy is counted.
pub struct Begin<'a>(pub &'a View);

impl fmt::Display for Begin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.teams.because {
            Because::Midnight => f.write_str("midnight"),
            Because::Start | Because::Clock => Moment(&self.0.teams.since, &self.0.now).fmt(f),
        }
    }
}

/// Since when energy is counted, and why from then.
struct Since<'a>(&'a View);

impl fmt::Display for Since<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "since {}", Begin(self.0))?;
        f.write_str(match self.0.teams.because {
            Because::Midnight => "",
            Because::Start => ", when the exporter began",
            Because::Clock => ", when the clock leapt",
        })
    }
}
