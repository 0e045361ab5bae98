//! The operations of the chapter, one after the other (rows H1 to H12).

use crate::support::{
    LONG, Two, framed, next, next_end, next_message, pattern, received, server, stranger, target, tcp,
};
use drywire_hub::{Block, Bounds, Config, Descriptor, Error, Hub, Input, Target};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[test]
fn h1_numbers_are_positive_and_never_used_again() {
    let (mut hub, address) = server();
    let mut before = 0;
    for _ in 0..20 {
        let (peer, number) = stranger(&mut hub, address);
        assert!(number.as_u64() > before, "{number} behind {before}");
        before = number.as_u64();
        drop(peer);
        assert_eq!(next(&mut hub), (number, Input::Ended));
        hub.close(number).unwrap();
        assert_eq!(next_end(&mut hub).0, number);
        assert!(matches!(hub.submit(number, "late"), Err(Error::Unknown(n)) if n == number));
        assert!(matches!(hub.close(number), Err(Error::Unknown(_))));
        assert!(matches!(hub.take_input_of(number), Err(Error::Unknown(_))));
    }
    assert_eq!(before, 20);
}

#[test]
fn h2_connection_is_made_of_two_pipes() {
    let (mut hub, mut other) = (Hub::new().unwrap(), Hub::new().unwrap());
    let (there_out, here_in) = rustix::pipe::pipe().map(|(read, write)| (write, read)).unwrap();
    let (here_out, there_in) = rustix::pipe::pipe().map(|(read, write)| (write, read)).unwrap();
    let own = |fd| Some(Descriptor::owned(fd));
    let here = hub.add_pair(own(here_in), own(here_out)).unwrap();
    let there = other.add_pair(own(there_in), own(there_out)).unwrap();
    for size in [0, 1, 70_000, 1 << 20] {
        hub.submit(here, pattern(size)).unwrap();
        while other.do_io(Block::No).unwrap() | hub.do_io(Block::No).unwrap() {}
        assert_eq!(next_message(&mut other), (there, pattern(size)));
        other.submit(there, pattern(size)).unwrap();
        while other.do_io(Block::No).unwrap() | hub.do_io(Block::No).unwrap() {}
        assert_eq!(next_message(&mut hub), (here, pattern(size)));
    }
}

#[test]
fn h2_one_direction_may_be_absent_and_one_descriptor_may_be_both() {
    let mut hub = Hub::new().unwrap();
    let (read, write) = rustix::pipe::pipe().unwrap();
    let input = hub.add_pair(Some(Descriptor::owned(read)), None).unwrap();
    let output = hub.add_pair(None, Some(Descriptor::owned(write))).unwrap();
    hub.submit(output, "through a pipe").unwrap();
    assert_eq!(next_message(&mut hub), (input, b"through a pipe".to_vec()));
    assert!(matches!(hub.submit(input, "back"), Err(Error::NoOutput(n)) if n == input));
    hub.close(output).unwrap();
    let mut ends =
        [next(&mut hub), next(&mut hub), next(&mut hub)].map(|(number, input)| (number, format!("{input:?}")));
    ends.sort();
    assert_eq!((ends[0].0, ends[1].0, ends[2].0), (input, input, output), "{ends:?}");
    assert!(ends[0].1.starts_with("Closed") && ends[1].1 == "Ended" && ends[2].1.starts_with("Closed"), "{ends:?}");

    let (one, mut other) = UnixStream::pair().unwrap();
    let side = || Some(Descriptor::shared(&one).unwrap());
    let both = hub.add_pair(side(), side()).unwrap();
    hub.submit(both, "a question").unwrap();
    hub.do_io(Block::No).unwrap();
    let mut heard = [0; 18];
    other.read_exact(&mut heard).unwrap();
    assert_eq!(&heard[..], framed(b"a question"));
    other.write_all(&framed(b"an answer")).unwrap();
    assert_eq!(next_message(&mut hub), (both, b"an answer".to_vec()));

    assert!(matches!(hub.add_pair(None, None), Err(Error::NoDescriptor)));
}

#[test]
fn h3_close_sends_what_was_submitted_and_abort_does_not() {
    let (mut hub, address) = server();
    let (mut peer, number) = stranger(&mut hub, address);
    let message = pattern(8 << 20);
    hub.submit(number, message.clone()).unwrap();
    hub.close(number).unwrap();
    assert!(matches!(hub.submit(number, "late"), Err(Error::Closed(n)) if n == number));
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all)
    });
    assert_eq!(next_end(&mut hub).1.counters.unsent, 0);
    assert!(reading.join().unwrap().unwrap() == framed(&message));

    let (mut peer, number) = stranger(&mut hub, address);
    hub.submit(number, message).unwrap();
    hub.do_io(Block::No).unwrap();
    hub.abort(number).unwrap();
    hub.abort(number).unwrap();
    hub.close(number).unwrap();
    assert!(next_end(&mut hub).1.counters.unsent > 0);
    assert!(peer.read_to_end(&mut Vec::new()).is_err(), "half a message is not taken for a whole one");
}

#[test]
fn h4_listens_on_addresses_names_and_unix_sockets() {
    let mut hub = Hub::new().unwrap();
    let mut addresses = hub.listen(Target::name("localhost", 0)).unwrap();
    assert!(addresses.iter().all(|address| tcp(address).port() == tcp(&addresses[0]).port()), "{addresses:?}");
    let directory = std::env::temp_dir().join(format!("drywire-hub-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    addresses.extend(hub.listen(target(&format!("unix:{}", directory.join("socket").display()))).unwrap());
    if TcpListener::bind("[::1]:0").is_ok() {
        addresses.extend(hub.listen(target("[::1]:0")).unwrap());
    }
    for address in addresses {
        let mut client = Hub::new().unwrap();
        let number = client.connect(address.clone()).unwrap();
        let accepted = hub.accept().unwrap();
        client.submit(number, address.to_string()).unwrap();
        client.do_io(Block::No).unwrap();
        assert_eq!(next_message(&mut hub), (accepted, address.to_string().into_bytes()));
        hub.abort(accepted).unwrap();
        next_end(&mut hub);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn h4_what_cannot_be_listened_on_is_said_in_words() {
    let mut hub = Hub::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = hub.listen(taken.local_addr().unwrap()).unwrap_err();
    let words = error.to_string();
    assert!(words.contains(&taken.local_addr().unwrap().to_string()) && words.contains("another"), "{words}");
    let error = hub.listen(Target::name("nowhere.invalid", 1)).unwrap_err();
    assert!(error.to_string().contains("nowhere.invalid") && error.to_string().contains("check the name"), "{error}");
    assert!(matches!(hub.accept(), Err(Error::NotListening)));
}

#[test]
fn h5_who_is_connected_stays_when_listening_stops() {
    let (mut hub, address) = server();
    let (mut peer, number) = stranger(&mut hub, address);
    hub.stop_listening().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(matches!(hub.accept(), Err(Error::NotListening)));
    peer.write_all(&framed(b"still here")).unwrap();
    assert_eq!(next_message(&mut hub), (number, b"still here".to_vec()));
    hub.listen(address).unwrap();
    stranger(&mut hub, address);
}

#[test]
fn h6_shutdown_sends_what_was_submitted_and_ends_everything() {
    let (mut hub, address) = server();
    let (mut peer, number) = stranger(&mut hub, address);
    let message = pattern(4 << 20);
    hub.submit(number, message.clone()).unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all)
    });
    assert_eq!(hub.shutdown().unwrap(), []);
    assert!(reading.join().unwrap().unwrap() == framed(&message));
    assert!(hub.is_shut_down());
    let is_shut_down = |error: Error| matches!(error, Error::ShutDown);
    assert!(is_shut_down(hub.do_io(Block::Yes).unwrap_err()));
    assert!(is_shut_down(hub.submit(number, "late").unwrap_err()));
    assert!(is_shut_down(hub.take_input().unwrap_err()));
    assert!(is_shut_down(hub.take_input_of(number).unwrap_err()));
    assert!(is_shut_down(hub.close(number).unwrap_err()));
    assert!(is_shut_down(hub.abort(number).unwrap_err()));
    assert!(is_shut_down(hub.accept().unwrap_err()));
    assert!(is_shut_down(hub.listen(address).unwrap_err()));
    assert!(is_shut_down(hub.stop_listening().unwrap_err()));
    assert!(is_shut_down(hub.connect(address).unwrap_err()));
    assert!(is_shut_down(hub.add_pair(None, None).unwrap_err()));
    assert!(is_shut_down(hub.shutdown().unwrap_err()));
    assert_eq!((hub.input_queue().count(), hub.output_queue().count(), hub.connections().len()), (0, 0, 0));
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens");
}

#[test]
fn h6_shutdown_cuts_who_takes_nothing_in_time_and_names_it() {
    let config = Config { drain_timeout: Duration::from_millis(300), ..Config::default() };
    let mut hub = Hub::with(Bounds::DEFAULT, config).unwrap();
    let address = tcp(&hub.listen(target("127.0.0.1:0")).unwrap()[0]);
    let (_takes_nothing, stuck) = stranger(&mut hub, address);
    let (quick, fine) = stranger(&mut hub, address);
    hub.submit(stuck, pattern(16 << 20)).unwrap();
    hub.submit(fine, "a word").unwrap();
    drop(quick);
    assert_eq!(hub.shutdown().unwrap(), [stuck]);
}

#[test]
fn h7_accept_waits_and_serves_others_meanwhile() {
    let mut two = Two::new();
    let address = tcp(&two.server.listen(target("127.0.0.1:0")).unwrap()[0]);
    two.client.submit(two.of_client, "meanwhile").unwrap();
    two.client.do_io(Block::No).unwrap();
    let coming = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        std::net::TcpStream::connect(address).unwrap()
    });
    let begun = Instant::now();
    let number = two.server.accept().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(90));
    assert!(number > two.of_server);
    let waiting: Vec<_> = two.server.input_queue().map(|(number, input)| (number, format!("{input:?}"))).collect();
    assert_eq!(waiting, [(two.of_server, "Message(b\"meanwhile\")".to_owned())]);
    drop(coming.join().unwrap());
}

#[test]
fn h7_connection_that_do_io_let_in_is_told_once() {
    let (mut hub, address) = server();
    let _peer = std::net::TcpStream::connect(address).unwrap();
    assert!(hub.do_io(Block::Yes).unwrap());
    let told: Vec<_> = hub.input_queue().map(|(number, input)| (number.as_u64(), input == &Input::Opened)).collect();
    assert_eq!(told, [(1, true)]);
    assert_eq!(hub.accept().unwrap().as_u64(), 1, "it is not told by do_io any more");
    assert_eq!(hub.take_input().unwrap(), None);
}

#[test]
fn h8_nothing_is_sent_before_do_io() {
    let (mut hub, address) = server();
    let (mut peer, number) = stranger(&mut hub, address);
    hub.submit(number, "one").unwrap();
    hub.submit(number, "").unwrap();
    hub.submit(number, "three").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(received(&mut peer), []);
    assert!(hub.do_io(Block::No).unwrap());
    let mut heard = vec![0; 3 * 8 + 8];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(heard, [framed(b"one"), framed(b""), framed(b"three")].concat());
}

#[test]
fn h9_oldest_input_of_one_and_of_any() {
    let (mut hub, address) = server();
    let mut peers: Vec<_> = (0..3).map(|_| stranger(&mut hub, address)).collect();
    let mut sent = Vec::new();
    for text in ["a", "b", "c"] {
        for (peer, number) in &mut peers {
            peer.write_all(&framed(text.as_bytes())).unwrap();
            sent.push((*number, Input::Message(text.into())));
            // One after the other, so that there is one order.
            assert!(hub.do_io(Block::AtMost(LONG)).unwrap());
            while hub.input_queue().count() < sent.len() {
                hub.do_io(Block::No).unwrap();
            }
        }
    }
    let second = peers[1].1;
    let of_second: Vec<_> = (0..3).map(|_| hub.take_input_of(second).unwrap().unwrap()).collect();
    assert_eq!(of_second, ["a", "b", "c"].map(|text| Input::Message(text.into())));
    assert_eq!(hub.take_input_of(second).unwrap(), None);
    sent.retain(|(number, _)| *number != second);
    let rest: Vec<_> = std::iter::from_fn(|| hub.take_input().unwrap()).collect();
    assert_eq!(rest, sent);
}

#[test]
fn h10_connects_to_names_and_addresses_and_says_why_not() {
    let (mut server, address) = server();
    let mut hub = Hub::new().unwrap();
    hub.connect(Target::name("localhost", address.port())).unwrap();
    hub.connect(address).unwrap();
    server.accept().unwrap();
    server.accept().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let words = hub.connect(nobody).unwrap_err().to_string();
    assert!(words.contains(&nobody.to_string()) && words.contains("refused"), "{words}");
    let words = hub.connect(Target::name("nowhere.invalid", 1)).unwrap_err().to_string();
    assert!(words.contains("check the name"), "{words}");
    assert_eq!(hub.connections().len(), 2, "who never stood is not there");
    assert_eq!(hub.take_input().unwrap(), None, "and says nothing");
}

#[test]
fn h11_queues_can_be_looked_at() {
    let mut two = Two::new();
    two.client.submit(two.of_client, "first").unwrap();
    two.client.submit(two.of_client, "second").unwrap();
    let queued: Vec<_> = two.client.output_queue().map(|(number, message)| (number, message.to_vec())).collect();
    assert_eq!(queued, [(two.of_client, b"first".to_vec()), (two.of_client, b"second".to_vec())]);
    let (of_client, of_server) = (two.of_client, two.of_server);
    two.until(|server, client| client.output_queue().count() == 0 && server.input_queue().count() == 2);
    let waiting: Vec<_> = two.server.input_queue().map(|(number, input)| (number, format!("{input:?}"))).collect();
    assert_eq!(waiting, ["first", "second"].map(|text| (of_server, format!("Message(b\"{text}\")"))));
    assert_eq!(two.client.connections(), [of_client]);
}

#[test]
fn h12_do_io_does_not_wait_when_input_was_received_already() {
    let mut two = Two::new();
    two.client.submit(two.of_client, "here already").unwrap();
    two.until(|server, _| server.input_queue().count() == 1);
    let begun = Instant::now();
    assert!(!two.server.do_io(Block::AtMost(LONG)).unwrap());
    assert!(begun.elapsed() < LONG / 2);
    assert_eq!(two.server.take_input().unwrap().unwrap().0, two.of_server);
}

#[test]
fn h12_do_io_waits_until_something_is_done() {
    let (mut hub, address) = server();
    let (mut peer, number) = stranger(&mut hub, address);
    assert!(!hub.do_io(Block::No).unwrap(), "there is nothing to do");
    let begun = Instant::now();
    assert!(!hub.do_io(Block::AtMost(Duration::from_millis(50))).unwrap());
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let coming = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        peer.write_all(&framed(b"at last")).unwrap();
        peer
    });
    assert!(hub.do_io(Block::Yes).unwrap());
    assert_eq!(hub.take_input().unwrap(), Some((number, Input::Message("at last".into()))));
    drop(coming.join().unwrap());
}

#[test]
fn h12_do_io_does_not_wait_for_nobody() {
    let mut hub = Hub::new().unwrap();
    assert!(!hub.do_io(Block::Yes).unwrap());
}
