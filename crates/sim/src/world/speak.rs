//! The protocols that worlds are made for.

use super::actor::{Actor, Order};
use super::hasty::Hasty;
use super::record::Record;
use drywire_core::Protocol;
use drywire_protocols::{ByteEcho, Dialog, LineEcho};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// A protocol that worlds are made for.
pub(crate) trait Speak: Protocol<Error: fmt::Display, Command: Clone> {
    /// One side of it, beside its record.
    fn new(record: &Rc<RefCell<Record>>, files: &Rc<Vec<Vec<u8>>>) -> Self;
    /// A command, if it takes any.
    fn order(_: Order) -> Option<Self::Command> {
        None
    }
    /// The number of an event.
    fn serial(event: &Self::Event) -> u32;
}

impl Speak for ByteEcho {
    fn new(_: &Rc<RefCell<Record>>, _: &Rc<Vec<Vec<u8>>>) -> ByteEcho {
        ByteEcho
    }
    fn serial(event: &Self::Event) -> u32 {
        match *event {}
    }
}

impl Speak for LineEcho {
    fn new(_: &Rc<RefCell<Record>>, _: &Rc<Vec<Vec<u8>>>) -> LineEcho {
        LineEcho
    }
    fn serial(event: &Self::Event) -> u32 {
        match *event {}
    }
}

impl Speak for Hasty {
    fn new(_: &Rc<RefCell<Record>>, _: &Rc<Vec<Vec<u8>>>) -> Hasty {
        Hasty::default()
    }
    fn serial(event: &Self::Event) -> u32 {
        match *event {}
    }
}

impl Speak for Dialog {
    fn new(_: &Rc<RefCell<Record>>, _: &Rc<Vec<Vec<u8>>>) -> Dialog {
        Dialog::new()
    }
    fn serial(event: &Self::Event) -> u32 {
        match *event {}
    }
}

impl Speak for Actor {
    fn new(record: &Rc<RefCell<Record>>, files: &Rc<Vec<Vec<u8>>>) -> Actor {
        Actor::new(record.clone(), files.clone())
    }
    fn order(order: Order) -> Option<Order> {
        Some(order)
    }
    fn serial(event: &u32) -> u32 {
        *event
    }
}
