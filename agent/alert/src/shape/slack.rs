//! Slack's incoming webhooks, and what speaks like them (Mattermost, Rocket.Chat): `{"text": …}`.

use serde_json::{Value, json};

use crate::desk::Order;
use crate::fields::fields;
use crate::receiver::{Template, TemplateError, escape_slack};
use crate::text::{body, title};

/// The message for an order.
pub fn message(order: &Order, template: Option<&Template>) -> Result<Value, TemplateError> {
    let notice = &order.notice;
    if let Some(template) = template {
        let text = template.render(fields(notice, &order.id, &order.incident))?;
        return Ok(json!({ "text": text }));
    }
    let mut text = [title(notice), body(notice)].map(Value::from);
    text.iter_mut().for_each(escape_slack);
    let [title, body] = text;
    let (title, body) = (title.as_str().unwrap_or_default(), body.as_str().unwrap_or_default());
    Ok(json!({ "text": format!("*{title}*\n{body}") }))
}
