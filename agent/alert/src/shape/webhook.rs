//! A generic webhook: the [fields] as a JSON object, or what a template makes of them.

use serde_json::Value;

use crate::desk::Order;
use crate::fields::fields;
use crate::receiver::{Template, TemplateError};

/// The body for an order.
pub fn body(order: &Order, template: Option<&Template>) -> Result<String, TemplateError> {
    let fields = fields(&order.notice, &order.id, &order.incident);
    match template {
        Some(template) => template.render(fields),
        None => Ok(Value::Object(fields).to_string()),
    }
}
