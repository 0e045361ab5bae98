//! See [`drywire_fuzz::byte_echo`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz::byte_echo(data));
