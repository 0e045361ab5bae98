//! A system that refuses to accept: for what the whole machine lacks, and a test cannot
//! take away from it.

use libc::{SYS_accept, SYS_accept4, c_int};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};
use std::fs;

/// From now on accepting from this descriptor fails with `error`, in all threads of this
/// process and for ever; of several errors the last counts.
///
/// # Errors
/// This machine has no filters of system calls, or none for us.
pub(crate) fn refuse_to_accept(from: u32, error: c_int) -> Result<(), Error> {
    let from = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, from.into())?;
    let rules = vec![SeccompRule::new(vec![from])?];
    let rules = [(SYS_accept, rules.clone()), (SYS_accept4, rules)].into_iter().collect();
    let fails = SeccompAction::Errno(error.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, fails, std::env::consts::ARCH.try_into()?)?;
    apply_filter_all_threads(&BpfProgram::try_from(filter)?)
}

/// The descriptor in this process that listens on this port of 127.0.0.1.
pub(crate) fn listener_on(port: u16) -> u32 {
    // Address and port in hexadecimal, the state, and after five other fields the inode.
    const LISTEN: &str = "0A";
    let local = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/self/net/tcp").expect("Linux");
    let inode = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&&local[..]) && fields.get(3) == Some(&LISTEN))
        .expect("somebody listens there")[9]
        .to_owned();
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc/self/fd")
        .expect("Linux")
        .flatten()
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == &*socket))
        .find_map(|entry| entry.file_name().to_str()?.parse().ok())
        .expect("it is ours")
}
