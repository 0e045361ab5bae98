//! The kit over our own protocols, and over broken ones that it must find.

mod controls;
mod ours;
mod script;
