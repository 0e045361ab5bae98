//! The suite on each driver, and over TLS on each driver: the same checks, of protocols that know
//! nothing of it, by peers that speak it themselves (W8). In one program, because they wait most of
//! the time: for deadlines, and for each other.

#[path = "subjects/workers.rs"]
#[expect(dead_code, reason = "tokio on several threads is in here too")]
mod subject;

use drywire_conformance::wire::Tls;
use drywire_conformance::{On, Subject, checks_of, run, transcript};
use libtest_mimic::{Arguments, Trial};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use subject::{MioLoop, SmolTask, TokioTask};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // More of them than there are processors get in nobody's way.
    arguments.test_threads.get_or_insert(6);
    let mut trials = suite::<subject::Mio>("mio");
    trials.extend(suite::<subject::Tokio>("tokio"));
    trials.extend(suite::<subject::Smol>("smol"));
    trials.extend(suite::<On<MioLoop, Tls>>("mio_tls"));
    trials.extend(suite::<On<TokioTask, Tls>>("tokio_tls"));
    trials.extend(suite::<On<SmolTask, Tls>>("smol_tls"));
    trials.extend(flawed::controls());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// As [`drywire_conformance::suite!`] does it.
fn suite<S: Subject>(driver: &str) -> Vec<Trial> {
    let trial = |name: &str, test: fn(&str, &str)| {
        let (name, path) = (name.to_owned(), format!("drivers::{driver}::{name}"));
        Trial::test(format!("{driver}::{name}"), move || {
            test(&name, &path);
            Ok(())
        })
    };
    let checks = checks_of::<S>();
    let mut trials: Vec<Trial> = checks.iter().map(|check| trial(check.name, run::<S>)).collect();
    trials.push(trial("c2_a_thousand_scripts_give_the_transcripts_they_must", |_, path| transcript::judge::<S>(path)));
    trials
}

/// Fails for this reason.
fn control(name: &str, because: &'static str, check: fn()) -> Trial {
    Trial::test(format!("control_{name}"), move || {
        let Err(failure) = catch_unwind(AssertUnwindSafe(check)) else { return Err("the check lets it pass".into()) };
        let text = failure.downcast::<String>().map_or_else(|_| String::new(), |text| *text);
        if text.contains(because) { Ok(()) } else { Err(format!("it fails for another reason: {text}").into()) }
    })
}

/// Layers with one flaw each, which the checks find.
mod flawed {
    use super::{Trial, control};
    use drywire_conformance::On;
    use drywire_conformance::checks::{client, half_close};
    use drywire_conformance::wire::{Tls, Wire};
    use drywire_core::layer::{Layer, LayerError, Sink};

    /// It ends without saying so.
    const NO_GOODBYE: u8 = 0;
    /// It says so in the middle of a handshake.
    const EARLY_GOODBYE: u8 = 1;

    /// TLS but for this.
    struct Flawed<const FLAW: u8>(drywire_tls::Tls);

    impl<const FLAW: u8> Layer for Flawed<FLAW> {
        fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
            self.0.open(wire)
        }

        fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
            self.0.receive(received, plain, wire)
        }

        fn is_holding(&self) -> bool {
            self.0.is_holding()
        }

        fn has_ended(&self) -> bool {
            self.0.has_ended()
        }

        fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
            self.0.send(plain, wire)
        }

        fn is_opening(&self) -> bool {
            FLAW != EARLY_GOODBYE && self.0.is_opening()
        }

        fn receive_end(&mut self) -> Result<(), LayerError> {
            self.0.receive_end()
        }

        fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
            if FLAW == NO_GOODBYE { Ok(()) } else { self.0.send_end(wire) }
        }
    }

    struct Over<const FLAW: u8>;

    impl<const FLAW: u8> Wire for Over<FLAW> {
        type Layer = Flawed<FLAW>;
        const IS_TLS: bool = true;

        fn accepts() -> Flawed<FLAW> {
            Flawed(Tls::accepts())
        }

        fn connects() -> Flawed<FLAW> {
            Flawed(Tls::connects())
        }
    }

    type Mio<const FLAW: u8> = On<super::MioLoop, Over<FLAW>>;

    pub(super) fn controls() -> [Trial; 2] {
        [
            control(
                "layer_that_ends_without_a_goodbye_fails",
                "a clean end was to come",
                half_close::e7_batch_input_gets_all_that_is_owed_then_a_clean_end::<Mio<NO_GOODBYE>>,
            ),
            control(
                "layer_that_ends_in_the_middle_of_its_handshake_fails",
                "CloseNotify",
                client::e9_client_that_ends_before_it_is_connected_ends_then::<Mio<EARLY_GOODBYE>>,
            ),
        ]
    }
}
