//! The mock, with our protocols; and each way a script can be wrong, caught.

mod controls;
mod scripts;
