//! Handles, groups and inboxes together: bounds, order, ends, races, wakes.

mod bounds;
mod cost;
mod groups;
mod orders;
mod races;
mod telling;
mod worker;
