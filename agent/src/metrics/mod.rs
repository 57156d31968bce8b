//! Rate, errors and durations per service: the one store that every exporter and report reads.
//!
//! Alternatives turned down: the OpenTelemetry SDK's metrics (a lock and allocated attributes per
//! call, no resource per observed service, no exact counts beside a histogram), and one histogram
//! kind only (explicit buckets give no useful percentiles, exponential ones no exact SLO counts).

#![forbid(unsafe_code)]

pub mod durations;
pub mod exponential;
mod getaddrinfo;
mod key;
pub mod limits;
mod names;
pub mod own;
mod searches;
mod series;
mod since;
pub mod snapshot;
mod store;
pub mod undelivered;

pub use limits::Limits;
pub use own::SelfMetrics;
pub use snapshot::Snapshot;
pub use store::Store;
