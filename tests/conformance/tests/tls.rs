//! The suite over TLS on each driver: the same checks, of protocols that know nothing of it, by peers
//! that speak it themselves (W8).

#[path = "subjects/workers.rs"]
#[expect(dead_code, reason = "the same without TLS are in here too")]
mod subject;

use drywire_conformance::On;
use drywire_conformance::wire::Tls;

mod mio {
    drywire_conformance::suite!(super::On<super::subject::MioLoop, super::Tls>);
}

mod tokio_task {
    drywire_conformance::suite!(super::On<super::subject::TokioTask, super::Tls>);
}

mod smol {
    drywire_conformance::suite!(super::On<super::subject::SmolTask, super::Tls>);
}

/// Layers with one flaw each, which the checks find.
mod flawed {
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

    type Mio<const FLAW: u8> = On<super::subject::MioLoop, Over<FLAW>>;

    #[test]
    #[should_panic(expected = "a clean end was to come")]
    fn layer_that_ends_without_a_goodbye_fails() {
        half_close::e7_batch_input_gets_all_that_is_owed_then_a_clean_end::<Mio<NO_GOODBYE>>();
    }

    #[test]
    #[should_panic(expected = "CloseNotify")]
    fn layer_that_ends_in_the_middle_of_its_handshake_fails() {
        client::e9_client_that_ends_before_it_is_connected_ends_then::<Mio<EARLY_GOODBYE>>();
    }
}
