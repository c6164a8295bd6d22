//! The lines as FOCUS 1.2, the FinOps cost and usage specification, in CSV.

use super::csv::{cell, row};
use super::document::Document;
use super::lines::{Decimal, Joules, Line, Seconds};

/// Columns of FOCUS 1.2 in the order of their names, as the specification lists them. Unit prices are not among them: they
/// change by the hour, and where the columns are, they may not be null.
const FOCUS: &[&str] = &[
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
];

/// The lines as FOCUS 1.2: two charges a line, electricity and hardware.
///
/// # Errors
/// Where there are no prices.
pub fn focus(document: &Document) -> Result<String, String> {
    if document.currency.is_none() {
        return Err("FOCUS is about cost: give --prices".into());
    }
    let mut out = row(FOCUS.iter().map(|column| cell(column)));
    for line in &document.lines {
        let Some(money) = &line.money else { continue };
        for charge in [
            Charge {
                what: "Electricity",
                unit: "kWh",
                quantity: in_kwh(line.energy_joules),
                cost: money.electricity,
            },
            Charge {
                what: "GPU time",
                unit: "Hours",
                quantity: in_hours(line.held_seconds),
                cost: money.hardware,
            },
        ] {
            out.push_str(&row(FOCUS.iter().map(|column| charge.column(column, line, document))));
        }
    }
    Ok(out)
}

struct Charge {
    what: &'static str,
    unit: &'static str,
    quantity: Decimal<9>,
    cost: super::amount::Amount,
}

impl Charge {
    fn column(&self, column: &str, line: &Line, document: &Document) -> String {
        let (team, model, node) = (line.get("team"), line.get("model"), line.get("node"));
        match column {
            "BilledCost" | "EffectiveCost" | "ListCost" | "ContractedCost" => self.cost.to_string(),
            "ConsumedQuantity" | "PricingQuantity" => self.quantity.to_string(),
            "ConsumedUnit" | "PricingUnit" => cell(self.unit),
            "BillingCurrency" => cell(document.currency.as_deref().unwrap_or_default()),
            "BillingPeriodStart" | "ChargePeriodStart" => cell(&document.period.from_utc),
            "BillingPeriodEnd" | "ChargePeriodEnd" => cell(&document.period.to_utc),
            "ChargeCategory" => cell("Usage"),
            "ChargeFrequency" => cell("Usage-Based"),
            "PricingCategory" => cell("Standard"),
            "ChargeDescription" => cell(&format!("{} of {model}", self.what)),
            "ServiceCategory" => cell("Compute"),
            "ServiceSubcategory" => cell("Other (Compute)"),
            "ServiceName" => cell("GPU"),
            "ProviderName" | "PublisherName" | "InvoiceIssuerName" | "BillingAccountId"
            | "BillingAccountName" => cell("Wattribute"),
            "BillingAccountType" => cell("Site"),
            "SubAccountId" | "SubAccountName" => cell(team),
            "SubAccountType" => cell("Team"),
            "RegionId" | "RegionName" => given(line.get("site")),
            "ResourceId" | "ResourceName" => given(node),
            "ResourceType" if !node.is_empty() => cell("Node"),
            "SkuId" => cell(&format!("{} {model}", self.what)),
            "SkuMeter" => cell(self.what),
            "Tags" => {
                let tags: serde_json::Map<String, serde_json::Value> =
                    line.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
                cell(&serde_json::Value::Object(tags).to_string())
            }
            // Null in FOCUS, which in CSV is nothing: there is no correction.
            _ => String::new(),
        }
    }
}

/// A name, or null where there is none.
fn given(name: &str) -> String {
    if name.is_empty() { String::new() } else { cell(name) }
}

fn in_kwh(joules: Joules) -> Decimal<9> {
    Decimal(narrow((u128::from(joules.0) * 1_000_000_000 + 1_800_000_000) / 3_600_000_000))
}

fn in_hours(seconds: Seconds) -> Decimal<9> {
    Decimal(narrow((u128::from(seconds.0) * 1_000_000_000 + 1_800_000_000) / 3_600_000_000))
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilowatt_hours_are_decimals() {
        assert_eq!(in_kwh(Decimal(3_600_000_000)).to_string(), "1.000000000");
        assert_eq!(in_kwh(Decimal(1)).to_string(), "0.000000000");
        assert_eq!(in_hours(Decimal(1_800_000_000)).to_string(), "0.500000000");
    }
}
