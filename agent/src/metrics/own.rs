//! vigie's figures about itself, under `vigie.*`: set from outside when a snapshot is made.

use std::borrow::Cow;

/// How a figure behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnKind {
    /// Only grows while vigie runs.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A value: whole where it counts, else a real number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// A measure.
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Number {
    /// As a real number.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }
}

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnMetric {
    /// Name by OpenTelemetry's rules: `vigie.records.lost`. A counter's has no `total`.
    pub name: &'static str,
    /// UCUM unit: `s`, `By`, `1`, `{record}`.
    pub unit: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// How it behaves.
    pub kind: OwnKind,
}

/// One value of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnPoint {
    /// What it is.
    pub metric: OwnMetric,
    /// What tells it from the other values of the same metric.
    pub attributes: Vec<(&'static str, Cow<'static, str>)>,
    /// The value.
    pub value: Number,
}

/// All figures at one time. Points of one metric may stand apart; exporters group them by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelfMetrics {
    points: Vec<OwnPoint>,
    recorded: Vec<Recorded>,
}

/// A value under a name of recording rules (`slo:objective:ratio`), which dashboards made for such rules
/// read. Only Prometheus has such names.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Name.
    pub name: String,
    /// Labels in their order.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl SelfMetrics {
    /// Sets a value that has no attributes.
    pub fn set(&mut self, metric: OwnMetric, value: impl Into<Number>) {
        self.points.push(OwnPoint { metric, attributes: Vec::new(), value: value.into() });
    }

    /// Sets a value with one attribute.
    pub fn set_by(
        &mut self,
        metric: OwnMetric,
        key: &'static str,
        attribute: impl Into<Cow<'static, str>>,
        value: impl Into<Number>,
    ) {
        let attributes = vec![(key, attribute.into())];
        self.points.push(OwnPoint { metric, attributes, value: value.into() });
    }

    /// Sets a value with any attributes.
    pub fn push(&mut self, point: OwnPoint) {
        self.points.push(point);
    }

    /// Adds all of another.
    pub fn append(&mut self, mut other: Self) {
        self.points.append(&mut other.points);
        self.recorded.append(&mut other.recorded);
    }

    /// Adds a value under a name of recording rules.
    pub fn record(&mut self, value: Recorded) {
        self.recorded.push(value);
    }

    /// All values under names of recording rules.
    pub fn recorded(&self) -> &[Recorded] {
        &self.recorded
    }

    /// All points.
    pub fn points(&self) -> &[OwnPoint] {
        &self.points
    }
}
