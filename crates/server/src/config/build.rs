//! A method for each setting, so that a configuration reads as one sentence.

use super::{Config, Listen, OnPanic, PortReuse, SystemCalls, Timeouts, TlsFiles};
use crate::secrets::Secrets;
use std::path::PathBuf;
use std::time::Duration;

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        impl Config {
            $(
                #[doc = concat!("Sets [`Config::", stringify!($field), "`](struct.Config.html#structfield.", stringify!($field), ").")]
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Config {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

impl Config {
    /// Every setting at its default; nowhere to listen yet.
    #[must_use]
    pub fn new() -> Config {
        Config::default()
    }

    /// Adds a place to listen on.
    #[must_use]
    pub fn listen(mut self, on: impl Into<Listen>) -> Config {
        self.listen.push(on.into());
        self
    }
}

settings! {
    workers: usize,
    port_reuse: PortReuse,
    backlog: u32,
    keep_alive: impl Into<Option<Duration>>,
    no_delay: bool,
    root: PathBuf,
    secrets: impl Into<Secrets>,
    timeouts: Timeouts,
    tls: TlsFiles,
    max_connections: usize,
    max_connections_per_address: usize,
    refusal: impl Into<String>,
    memory_bytes: usize,
    tick: impl Into<Option<Duration>>,
    connect_timeout: Duration,
    drain_timeout: Duration,
    commands_per_connection: u32,
    command_bytes_per_connection: u32,
    commands: usize,
    on_panic: OnPanic,
    events: usize,
    budget_bytes: usize,
    budget_messages: u32,
    system_calls: SystemCalls,
}
