//! What OpenSLO has no words for: `vigie.dev/…` annotations there, keys of their own in the short form.

use super::field::{Field, Map};
use super::maintenance::silences;
use super::report::{Report, meant};
use super::values::{seconds, share};
use crate::alert::Guards;
use crate::duration::millis;
use crate::model::{Empty, MIN_COVERAGE, NO_DATA_AFTER_S};
use crate::ratio::Ratio;
use crate::silence::Silence;
use crate::zone::Zones;

/// Extra properties, each unset until it is given.
#[derive(Clone, Debug, Default)]
pub(super) struct Extras {
    pub(super) runbook_url: Option<String>,
    min_bad: Option<u64>,
    min_total: Option<u64>,
    min_budget_spend: Option<Ratio>,
    ship_above: Option<Ratio>,
    freeze_below: Option<Ratio>,
    hysteresis: Option<Ratio>,
    min_coverage: Option<Ratio>,
    no_data_after_s: Option<u64>,
    /// `no_data_after: never`.
    no_data_never: bool,
    pub(super) hung_after_ms: Option<u64>,
    pub(super) empty_slices: Option<Empty>,
    pub(super) silences: Vec<Silence>,
}

/// Those of an SLO.
pub(super) const OF_SLO: &[&str] = &[
    "runbook_url",
    "min_bad",
    "min_total",
    "min_budget_spend",
    "policy",
    "ship_above",
    "freeze_below",
    "hysteresis",
    "min_coverage",
    "no_data_after",
    "hung_after",
    "empty_slices",
    "maintenance",
];
/// Those of an alert policy.
pub(super) const OF_POLICY: &[&str] = &["runbook_url", "min_bad", "min_total", "min_budget_spend"];

const PREFIX: &str = "vigie.dev/";

impl Extras {
    /// From annotations: other people's are left alone.
    pub(super) fn annotations(
        map: Option<&Map<'_>>,
        known: &'static [&'static str],
        report: &mut Report,
    ) -> Self {
        let mut extras = Self::default();
        for (key, field) in map.iter().flat_map(|map| map.entries()) {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            if known.contains(&name) {
                extras.set(name, &field, report);
            } else {
                report.wrong(&field.at, "unknown annotation", meant(name, known.iter().copied()));
            }
        }
        extras
    }

    /// From keys of the short form.
    pub(super) fn keys(map: &Map<'_>, known: &'static [&'static str], report: &mut Report) -> Self {
        let mut extras = Self::default();
        for name in known {
            if let Some(field) = map.get(name) {
                extras.set(name, &field, report);
            }
        }
        extras
    }

    fn set(&mut self, name: &str, field: &Field<'_>, report: &mut Report) {
        match name {
            "runbook_url" => self.runbook_url = field.read(report, url),
            "min_bad" => self.min_bad = field.count(report),
            "min_total" => self.min_total = field.count(report),
            "min_budget_spend" => self.min_budget_spend = share(field, report),
            "ship_above" => self.ship_above = share(field, report),
            "freeze_below" => self.freeze_below = share(field, report),
            "hysteresis" => self.hysteresis = share(field, report),
            "min_coverage" => self.min_coverage = share(field, report),
            "policy" => self.policy(field, report),
            "hung_after" => self.hung_after_ms = field.read(report, millis),
            "no_data_after" => {
                self.no_data_never = matches!(field.text(report), Some("never"));
                if !self.no_data_never {
                    self.no_data_after_s = seconds(field, report);
                }
            }
            "empty_slices" => {
                let words =
                    [("good", Empty::Good), ("exclude", Empty::Exclude), ("bad", Empty::Bad)];
                self.empty_slices = field.word(report, &words);
            }
            "maintenance" => self.silences = silences(field, report),
            _ => {}
        }
    }

    /// `ship_above=50%, freeze_below=25%, hysteresis=2%`, any of them.
    fn policy(&mut self, field: &Field<'_>, report: &mut Report) {
        let read = |text: &str| {
            let form = || "write ship_above=50%, freeze_below=25%, hysteresis=2%".to_owned();
            let mut parts = Vec::new();
            for part in text.split(',') {
                let (name, value) = part.split_once('=').ok_or_else(form)?;
                let ratio: Ratio = value.trim().parse().map_err(|_| form())?;
                parts.push((name.trim().to_owned(), ratio));
            }
            let known = ["ship_above", "freeze_below", "hysteresis"];
            let right = |(name, ratio): &(String, Ratio)| {
                known.contains(&name.as_str()) && *ratio <= Ratio::ONE
            };
            if parts.iter().all(right) { Ok(parts) } else { Err(form()) }
        };
        for (name, ratio) in field.read(report, read).unwrap_or_default() {
            match name.as_str() {
                "ship_above" => self.ship_above = Some(ratio),
                "freeze_below" => self.freeze_below = Some(ratio),
                _ => self.hysteresis = Some(ratio),
            }
        }
    }

    /// Guards, with what `self` leaves open from `wider`.
    pub(super) fn guards(&self, wider: &Self) -> Guards {
        Guards {
            min_bad: self.min_bad.or(wider.min_bad).unwrap_or(0),
            min_total: self.min_total.or(wider.min_total).unwrap_or(0),
            min_budget_spend: self.min_budget_spend.or(wider.min_budget_spend),
        }
    }

    /// Zones of the policy, in the right order.
    pub(super) fn zones(&self, map: &Map<'_>, report: &mut Report) -> Zones {
        let default = Zones::default();
        let zones = Zones {
            ship_above: self.ship_above.unwrap_or(default.ship_above),
            freeze_below: self.freeze_below.unwrap_or(default.freeze_below),
            hysteresis: self.hysteresis.unwrap_or(default.hysteresis),
        };
        if zones.freeze_below > zones.ship_above {
            let message = format!(
                "freeze begins at {}, above where ship ends, {}",
                zones.freeze_below, zones.ship_above
            );
            report.wrong(&map.at, message, "write freeze_below at most as high as ship_above");
        }
        zones
    }

    pub(super) fn min_coverage(&self) -> Ratio {
        self.min_coverage.unwrap_or(MIN_COVERAGE)
    }

    pub(super) fn no_data_after_s(&self) -> Option<u64> {
        (!self.no_data_never).then(|| self.no_data_after_s.unwrap_or(NO_DATA_AFTER_S))
    }
}

fn url(text: &str) -> Result<String, String> {
    let right = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    if right { Ok(text.to_owned()) } else { Err("write the whole URL: https://…".to_owned()) }
}
