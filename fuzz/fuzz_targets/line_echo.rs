//! See [`drywire_fuzz::line_echo`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz::line_echo(data));
