//! The examples are the programs in `src/bin`. This library holds nothing but the
//! README's own code, so that it is compiled and run as a test.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
