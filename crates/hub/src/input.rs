//! The input queue: what came, in the order in which it came, with two ways out: the oldest
//! of all, and the oldest of one connection. Both cost the same however long the queue is.

use crate::number::Number;
use bytes::Bytes;
use drywire_core::CloseReport;
use drywire_protocols::BadMessage;

/// How a connection has ended: why, and how much went through.
pub type Closed = CloseReport<BadMessage>;

/// What one connection has to say.
///
/// ```text
///  Opened ── Message … ── Ended ── Closed
/// ```
///
/// *Guaranteed*: in this order, each at most once but messages; `Closed` exactly once for
/// each number, and last.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// It came by a socket that the hub listens on.
    Opened,
    /// A message, whole; it may be empty.
    Message(Bytes),
    /// The peer will say nothing more, and may still listen. Who has nothing to say to it
    /// closes the connection; after a minute without a word it closes by itself.
    Ended,
    /// The connection is gone.
    Closed(Closed),
}

impl Input {
    /// What it takes of the bounds of the queue, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Input::Message(message) => size_of::<Node>() + message.len(),
            // There is one of each for a connection at most.
            Input::Opened | Input::Ended | Input::Closed(_) => 0,
        }
    }
}

/// The ends of one connection's row in the queue.
#[derive(Debug, Default)]
pub(crate) struct Row {
    first: Option<usize>,
    last: Option<usize>,
}

/// Nodes in two rows each: that of all, linked both ways, and that of their connection.
///
/// Bound: the owner's; it counts what [`Input::weight`] says.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    nodes: Vec<Node>,
    free: Vec<usize>,
    first: Option<usize>,
    last: Option<usize>,
}

#[derive(Debug)]
struct Node {
    number: Number,
    /// `None` in a node that is free.
    input: Option<Input>,
    before: Option<usize>,
    after: Option<usize>,
    after_of_row: Option<usize>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The connection that the oldest input is from.
    pub(crate) fn first(&self) -> Option<Number> {
        self.first.map(|at| self.nodes[at].number)
    }

    pub(crate) fn push(&mut self, number: Number, row: &mut Row, input: Input) {
        let node = Node { number, input: Some(input), before: self.last, after: None, after_of_row: None };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        match self.last.replace(at) {
            Some(last) => self.nodes[last].after = Some(at),
            None => self.first = Some(at),
        }
        match row.last.replace(at) {
            Some(last) => self.nodes[last].after_of_row = Some(at),
            None => row.first = Some(at),
        }
    }

    /// The oldest of one connection.
    pub(crate) fn pop(&mut self, row: &mut Row) -> Option<Input> {
        let at = row.first?;
        let node = &mut self.nodes[at];
        let input = node.input.take().expect("free nodes are in no row");
        let (before, after) = (node.before, node.after);
        row.first = node.after_of_row;
        if row.first.is_none() {
            row.last = None;
        }
        match before {
            Some(before) => self.nodes[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.nodes[after].before = before,
            None => self.last = before,
        }
        self.free.push(at);
        Some(input)
    }

    /// All of it, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Number, &Input)> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let node = &self.nodes[next?];
            next = node.after;
            Some((node.number, node.input.as_ref().expect("free nodes are in no row")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> Input {
        Input::Message(text.into())
    }

    #[test]
    fn h9_oldest_of_all_and_oldest_of_one_come_out_in_order() {
        let (one, mut row_one) = (Number::FIRST, Row::default());
        let (two, mut row_two) = (Number::FIRST.next(), Row::default());
        let mut queue = Queue::default();
        for text in ["a", "b", "c"] {
            queue.push(one, &mut row_one, message(text));
            queue.push(two, &mut row_two, message(text));
        }
        assert_eq!(queue.pop(&mut row_two), Some(message("a")), "from the middle");
        assert_eq!(queue.first(), Some(one));
        assert_eq!(queue.pop(&mut row_one), Some(message("a")));
        assert_eq!(queue.pop(&mut row_one), Some(message("b")));
        assert_eq!(queue.first(), Some(two));
        let all: Vec<_> = queue.iter().map(|(number, _)| number).collect();
        assert_eq!(all, [two, one, two]);
        assert_eq!(queue.pop(&mut row_two), Some(message("b")));
        assert_eq!(queue.pop(&mut row_two), Some(message("c")), "from the end");
        assert_eq!(queue.pop(&mut row_two), None);
        queue.push(two, &mut row_two, message("d"));
        assert_eq!(queue.pop(&mut row_one), Some(message("c")));
        assert_eq!(queue.pop(&mut row_two), Some(message("d")));
        assert!(queue.is_empty() && queue.first().is_none());
        assert_eq!(queue.nodes.len(), 6, "places are used again");
    }
}
