use super::*;
use crate::config::{Listen, OnPanic, PortReuse, SystemCalls, Timeouts, TlsFiles};
use proptest::prelude::*;
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../../../../examples/drywire.toml");

#[track_caller]
fn wrong(text: &str) -> Vec<String> {
    Config::from_toml(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn w5_example_file_has_every_key_and_says_the_defaults() {
    assert_eq!(Config::from_toml(EXAMPLE).unwrap(), Config::default());
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        let stands = EXAMPLE.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{} = ", key.name)));
        assert!(stands, "{} is missing", key.name);
    }
    let comment_removed = |line: &str| match line.strip_prefix("# ") {
        Some(key) if key.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => key.to_owned(),
        _ => line.to_owned(),
    };
    let all: Vec<String> = EXAMPLE.lines().map(comment_removed).collect();
    let config = Config::from_toml(&all.join("\n")).unwrap();
    assert_eq!((config.root, config.timeouts.min_rate), (Some("/srv/files".into()), Some(64)));
}

#[test]
fn w5_every_field_can_be_said_in_the_file_and_reads_back() {
    // No `..`: a new field does not compile until the file can say it.
    let config = Config {
        listen: ["127.0.0.1:1", "[::1]:2", "unix:/a \"b\\\u{7}", "systemd:mail"].map(|at| at.parse().unwrap()).into(),
        workers: 3,
        port_reuse: PortReuse::Off,
        backlog: 17,
        keep_alive: None,
        no_delay: false,
        root: Some("/srv".into()),
        secrets: ["/srv/a \"b\\\u{7}", "/srv/c"].into(),
        refusal: "421 too \"busy\"\r\n".into(),
        timeouts: Timeouts {
            first_byte: Some(Duration::from_millis(1500)),
            message: Some(Duration::ZERO),
            idle: Some(Duration::from_secs(3600)),
            stall: Some(Duration::from_secs(2)),
            min_rate: Some(0),
            close: Some(Duration::from_secs(9)),
        },
        tls: TlsFiles { cert: Some("/etc/cert.pem".into()), key: Some("/etc/key.pem".into()) },
        max_connections: 5,
        max_connections_per_address: 4,
        memory_bytes: 12_345_678,
        tick: Some(Duration::from_millis(250)),
        connect_timeout: Duration::from_secs(7),
        drain_timeout: Duration::MAX,
        commands_per_connection: 8,
        command_bytes_per_connection: 4097,
        commands: 1000,
        on_panic: OnPanic::Stop,
        events: 99,
        budget_bytes: 1001,
        budget_messages: 77,
        system_calls: SystemCalls { openat2: false, sendfile: false },
    };
    let mut config = config;
    config.listen.push(Listen::Unix { path: "/run/x".into(), mode: Some(0o660) });
    let text = config.to_toml();
    assert_eq!(Config::from_toml(&text).unwrap(), config, "{text}");
    for section in &SECTIONS {
        for key in section.keys {
            assert_ne!((key.write)(&config), (key.write)(&Config::default()), "{} was not tried", key.name);
        }
    }
}

#[test]
fn w5_every_mistake_is_told_with_its_place() {
    let text = "workers = 0\nport-reuse = \"maybe\"\n\nlisten = [\"127.0.0.1:1\", \"localhost\"]\n\
                ättr = 1\n[timeouts]\nidle = 30\n  mesage = \"5s\"\n";
    assert_eq!(
        wrong(text),
        [
            "1:11: workers: 0 workers; it takes 1 to 1024",
            "2:14: port-reuse: write \"auto\" or \"on\" or \"off\"",
            "4:26: listen[1]: `localhost` is no place to listen on; write IP:PORT, as 127.0.0.1:2525 or [::1]:2525, \
             unix:PATH, or systemd:NAME",
            "5:1: invalid unquoted key, expected letters, numbers, `-`, `_`",
            "7:8: timeouts.idle: a duration has a unit; write \"30s\" or \"30ms\"",
            "8:3: there is no key `mesage` in [timeouts]; did you mean `message`?",
        ]
    );
}

#[test]
fn w5_keys_that_are_not_known_come_with_a_way_out() {
    for (text, says) in [
        ("worker = 1", "1:1: there is no key `worker`; did you mean `workers`?"),
        ("max_connections = 1", "1:1: there is no key `max_connections`; did you mean `max-connections`?"),
        ("idle = \"1s\"", "1:1: there is no key `idle`; it belongs into [timeouts]"),
        (
            "[timeouts]\nworkers = 1",
            "2:1: there is no key `workers` in [timeouts]; it belongs above the first [section]",
        ),
        ("[timeout]\n", "1:2: there is no key `timeout`; did you mean `timeouts`?"),
        ("\"a\\u001b[31m\" = 1", "1:1: there is no key `a\\x1b[31m`; there are listen, "),
        ("timeouts = 3", "1:12: timeouts: this is a number, not a table"),
    ] {
        let wrong = wrong(text);
        assert!(wrong.len() == 1 && wrong[0].starts_with(says), "{wrong:?}");
    }
}

#[test]
fn values_of_the_wrong_kind_say_what_would_be_right() {
    for (text, says) in [
        ("workers = \"4\"", "1:11: workers: this is a text; write a number, such as 64"),
        ("workers = -4", "1:11: workers: less than nothing; write 1 or more"),
        ("backlog = 99999999999", "1:11: backlog: more than there can be"),
        (
            "memory-bytes = \"1 GB\"",
            "1:16: memory-bytes: this is no size; write a number of bytes, or one with B, KiB,",
        ),
        ("memory-bytes = \"99999999999TiB\"", "1:16: memory-bytes: more bytes than there can be"),
        ("no-delay = \"yes\"", "1:12: no-delay: this is a text; write true or false"),
        ("tick = \"0s\"", "1:8: tick: would never end; for no tick write none"),
        ("tick = \"5 apples\"", "1:8: tick: "),
        ("drain-timeout = true", "1:17: drain-timeout: this is true or false; write a duration, as \"30s\""),
        ("[tls]\ncert = \"/c\"", "2:8: tls.cert: without tls.key; a certificate and its key go together"),
        ("root = \"\"", "1:8: root: this is no path; write \"/srv/files\""),
        ("secrets = \"/srv/key\"", "1:11: secrets: this is no list; write [\"/srv/files/key.pem\"]"),
        ("secrets = [\"/srv/key\", 7]", "1:24: secrets: this is no path; write [\"/srv/files/key.pem\"]"),
        ("listen = \"127.0.0.1:1\"", "1:10: listen: this is no list; write [\"127.0.0.1:2525\"]"),
        ("listen = [{ mode = \"0660\" }]", "1:11: listen[0]: there is no address here; write { address ="),
        (
            "listen = [{ address = \"unix:/a\", mode = 660 }]",
            "1:41: listen[0]: a mode is octal; write \"0660\" or 0o660",
        ),
        ("listen = [{ address = \"[::1]:1\", mode = 0o660 }]", "1:41: listen[0]: a mode is for the file of unix:PATH"),
        ("listen = [{ path = \"unix:/a\" }]", "1:13: listen[0]: there is no key `path` here; there are address, mode"),
        ("[timeouts]\nidle = \"0s\"", "2:8: timeouts.idle: nothing is done in no time; for no timeout write \"none\""),
        ("commands = 63", "1:12: commands: fewer than commands-per-connection, 64: one connection could take all"),
    ] {
        let wrong = wrong(text);
        assert!(wrong.iter().any(|error| error.starts_with(says)), "{text}: {wrong:?}");
    }
}

#[test]
fn sizes_and_durations_have_units() {
    let config = Config::from_toml(
        "memory-bytes = \"2 MiB\"\nbudget-bytes = 0x1000\ntick = \"1min 30s\"\nkeep-alive = \"none\"\n\
         [timeouts]\nmin-rate = \"1KiB\"\nidle = \"none\"\n",
    )
    .unwrap();
    assert_eq!((config.memory_bytes, config.budget_bytes), (2 << 20, 4096));
    assert_eq!((config.tick, config.keep_alive), (Some(Duration::from_secs(90)), None));
    assert_eq!((config.timeouts.min_rate, config.timeouts.idle), (Some(1024), Some(Duration::ZERO)));
}

#[test]
fn grammar_of_toml_is_told_with_its_place_and_the_rest_is_read() {
    let wrong = wrong("workers = \nbacklog = 0\n");
    assert!(wrong.len() == 2 && wrong[0].starts_with("1:11: string values must be quoted"), "{wrong:?}");
    assert_eq!(wrong[1], "2:11: backlog: 0 would stop everything; write 1 or more");
}

fn durations() -> impl Strategy<Value = Duration> {
    (0..5_000_000_u64, 0..1000_u32).prop_map(|(secs, ms)| Duration::new(secs, ms * 1_000_000))
}

prop_compose! {
    fn valid()(
        workers in 1..1025_usize, backlog in 1..=i32::MAX as u32, keep_alive in prop::option::of(1..32_400_u64),
        no_delay: bool, root in prop::option::of("/\\PC{0,20}"), tick in prop::option::of(1..u64::MAX),
        drain in durations(), memory in 1..usize::MAX, isolate: bool, idle in prop::option::of(durations()),
        min_rate: Option<u32>, paths in prop::collection::btree_map("/[^\\x00]{0,20}", prop::option::of(0..0o1000_u32), 0..4),
    ) -> Config {
        let mut config = Config::new().workers(workers).backlog(backlog).no_delay(no_delay).drain_timeout(drain);
        config.keep_alive = keep_alive.map(Duration::from_secs);
        config.root = root.map(Into::into);
        config.tick = tick.map(Duration::from_nanos);
        config.memory_bytes = memory;
        config.on_panic = if isolate { OnPanic::Isolate } else { OnPanic::Stop };
        config.timeouts.idle = idle.map(|idle| idle.min(Duration::from_secs(4_000_000)));
        config.timeouts.min_rate = min_rate;
        config.listen = paths.into_iter().map(|(path, mode)| Listen::Unix { path: path.into(), mode }).collect();
        config
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_settings_read_back_as_they_are_written(config in valid()) {
        prop_assume!(config.validate().is_ok());
        let text = config.to_toml();
        prop_assert_eq!(Config::from_toml(&text), Ok(config), "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*", garbled in garbled()) {
        let _ = Config::from_toml(&text);
        let _ = Config::from_toml(&garbled);
    }
}

/// The example with a piece of it replaced: what looks like a file goes further in.
fn garbled() -> impl Strategy<Value = String> {
    let chars: Vec<char> = EXAMPLE.chars().collect();
    (0..chars.len(), 0..40_usize, "[\\PC\n\\[\\]\"={}0-9-]{0,8}").prop_map(move |(at, len, new)| {
        let end = (at + len).min(chars.len());
        chars[..at].iter().chain(new.chars().collect::<Vec<_>>().iter()).chain(&chars[end..]).collect()
    })
}
