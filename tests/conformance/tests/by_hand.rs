//! The suite on the driver by hand: what it declares, it does. The controls break
//! this driver, so it has to be sound before.

#[path = "subjects/by_hand.rs"]
mod subject;

drywire_conformance::suite!(subject::ByHand<{ subject::SOUND }>);
