//! See [`drywire_fuzz::dialog`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz::dialog(data));
