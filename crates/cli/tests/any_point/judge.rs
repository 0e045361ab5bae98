//! Whether what the server says of itself is what its clients have seen.

use crate::clients::Client;
use std::net::SocketAddr;

/// What the server said on standard error.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) closed: Vec<Closed>,
    /// Clients that the report of the shutdown names.
    pub(crate) named: Vec<SocketAddr>,
    pub(crate) stderr: String,
}

/// The line about a connection that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    peer: SocketAddr,
    /// Bytes that the kernel has taken.
    pub(crate) sent: u64,
}

impl Told {
    pub(crate) fn read(stderr: &str) -> Told {
        let after = |line: &str, word: &str| {
            let (_, rest) = line.split_once(word)?;
            rest.split(' ').next().map(str::to_owned)
        };
        let closed = stderr.lines().filter(|line| line.contains(" closed ")).map(|line| Closed {
            peer: after(line, "peer=").expect("whose it was").parse().expect("an address"),
            sent: after(line, " sent=").expect("how much it was").parse().expect("a number"),
        });
        let named = stderr.lines().filter_map(|line| line.strip_prefix("drywire: not finished: "));
        let named = named.map(|line| line.split(": ").next().expect("a front").parse().expect("an address"));
        Told { closed: closed.collect(), named: named.collect(), stderr: stderr.into() }
    }
}

/// Clients by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    /// Got all that was sent, and are not named.
    pub(crate) whole: usize,
    /// Are named.
    pub(crate) named: usize,
    /// Are named, and have really not got all of it.
    pub(crate) torn: usize,
    /// Were never let in.
    pub(crate) turned_away: usize,
    /// Bytes.
    pub(crate) received: u64,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: &Verdict) {
        self.whole += other.whole;
        self.named += other.named;
        self.torn += other.torn;
        self.turned_away += other.turned_away;
        self.received += other.received;
    }
}

/// Each client has received what was sent to it, or is named.
///
/// # Errors
/// In words: which has not and is not, or what the server does not say.
pub(crate) fn judge(clients: &[Client], told: &Told) -> Result<Verdict, String> {
    let mut verdict = Verdict::default();
    for client in clients {
        verdict.received += client.received;
        let mut lines = told.closed.iter().filter(|closed| closed.peer == client.address);
        let Some(closed) = lines.next() else {
            if client.received > 0 {
                return Err(format!("no close line for {client}"));
            }
            verdict.turned_away += 1;
            continue;
        };
        if lines.next().is_some() {
            return Err(format!("two close lines for {client}"));
        }
        if client.received > closed.sent {
            return Err(format!("only {} bytes were sent, they say, to {client}", closed.sent));
        }
        let is_named = told.named.contains(&client.address);
        match (client.received == closed.sent, is_named) {
            (true, false) => verdict.whole += 1,
            (_, true) => {
                verdict.named += 1;
                verdict.torn += usize::from(client.received < closed.sent);
            }
            (false, false) => {
                return Err(format!("not named, and not all of {} bytes: {client}", closed.sent));
            }
        }
    }
    Ok(verdict)
}
