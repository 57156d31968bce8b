//! Requests in flight on all connections, as they stand.

use std::ops::Range;

use super::connection::State;
use super::{Connection, Flows};
use crate::event::MonoNs;
use crate::protocol::Exchange;
use crate::protocol::in_flight::{Looked, Shown, Starts};

impl Flows {
    /// Shows the requests that began in `started` and surely wait for their answers
    /// ([`crate::protocol::in_flight`]), of more than `most` the oldest, in no certain order. `now` is
    /// their end so far. Changes nothing.
    ///
    /// Looks at each connection of the table ([`Limits::connections`](super::Limits) at most) and at each
    /// request that is in flight, without allocating; then at the connections again that have some of
    /// them. An exchange is made for those only that are shown.
    pub fn in_flight(
        &self,
        started: Range<MonoNs>,
        most: usize,
        now: MonoNs,
        mut each: impl FnMut(Exchange, &Connection),
    ) -> Looked {
        let mut begun = Starts::new(started.clone());
        let mut with_some: Vec<&State> = Vec::new();
        for state in self.connections.values() {
            let before = begun.len();
            state.in_flight(now, &mut begun);
            if begun.len() > before {
                with_some.push(state);
            }
        }
        let looked = begun.oldest(most);
        for state in with_some {
            let connection = state.connection();
            let mut shown = Shown {
                started: started.start..looked.until,
                each: |mut exchange: Exchange| {
                    exchange.id.connection = connection.id;
                    each(exchange, connection);
                },
            };
            state.in_flight(now, &mut shown);
        }
        looked
    }
}
