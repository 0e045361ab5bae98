//! Recordings, replayed: what was recorded comes out again, and what is not as it
//! was is shown where it is.

mod damage;
mod differences;
mod identical;
mod kept;
mod layered;
mod masked;
mod on_tokio;
mod records;
mod stage;
mod talk;
