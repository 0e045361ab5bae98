//! One connection's stream as the core's transport. There are no files.

use super::network::Network;
use super::peer::Theirs;
use super::setup::Fault;
use super::timeline::What;
use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Transport, TransportError};
use drywire_server::{Connecting, News};

pub(super) struct Wire<'a> {
    network: &'a mut Network,
    line: usize,
}

impl Wire<'_> {
    pub(super) fn new(network: &mut Network, line: usize) -> Wire<'_> {
        Wire { network, line }
    }
}

impl Transport for Wire<'_> {
    fn short_read_exhausts(&self) -> bool {
        self.network.luck.setup.short_reads_exhaust
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        let exhausts = self.short_read_exhausts();
        let (network, line) = (&mut *self.network, self.line);
        if !network.lines[line].is_readable() {
            network.event(What::ReadBlocks, line, 0);
            return Err(Blocked::WouldBlock);
        }
        if !network.lines[line].is_honest && network.luck.strikes(Fault::Block) {
            network.event(What::ReadBlocksForNothing, line, 0);
            network.tell_again(line, News { read: true, ..News::default() });
            return Err(Blocked::WouldBlock);
        }
        let this = &mut network.lines[line];
        if this.arrived == 0 {
            if let Some(error) = this.fault {
                network.event(What::ReadFails, line, 0);
                return Err(Blocked::Failed(error));
            }
            this.end_read = true;
            network.event(What::EndRead, line, 0);
            return Ok(0);
        }
        let there = this.arrived.min(slot.len());
        let n = network.luck.cut(there);
        let this = &mut network.lines[line];
        for (to, from) in slot.iter_mut().zip(this.inbound.drain(..n)) {
            *to = from;
        }
        this.landed -= n;
        this.arrived -= n;
        let is_short = this.arrived > 0 && n < slot.len();
        network.event(What::Read, line, n as u64);
        if is_short && exhausts {
            // As though the rest had come right behind this read: an edge tells of it.
            network.edge(line, News { read: true, ..News::default() });
        }
        network.take_in(line);
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        let (network, line) = (&mut *self.network, self.line);
        let this = &network.lines[line];
        if let Some(error) = this.fault {
            // As Linux: a pipe is broken whose reader had ended before it reset.
            let is_broken = error == TransportError::Reset && this.theirs == Theirs::Ended;
            let error = if is_broken { TransportError::BrokenPipe } else { error };
            network.event(What::WriteFails, line, 0);
            return Err(Blocked::Failed(error));
        }
        let room = network.luck.setup.room_bytes - this.outbound.len();
        if room == 0 || this.connecting == Connecting::Pending {
            network.lines[line].write_blocked = true;
            network.event(What::WriteBlocks, line, 0);
            return Err(Blocked::WouldBlock);
        }
        if network.luck.strikes(Fault::Block) {
            network.event(What::WriteBlocksForNothing, line, 0);
            network.tell_again(line, News { write: true, ..News::default() });
            return Err(Blocked::WouldBlock);
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let n = network.luck.cut(offered.min(room));
        let mut left = n;
        for slice in slices {
            let piece = &slice[..slice.len().min(left)];
            left -= piece.len();
            network.lines[line].outbound.extend(piece);
        }
        network.event(What::Written, line, n as u64);
        network.go_out(line);
        Ok(n)
    }

    fn try_send_file(&mut self, _: FileId, _: u64, _: u64) -> Result<u64, SendFileError> {
        Err(SendFileError::File(FileError::NotFound))
    }

    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        Err(FileError::NotFound)
    }

    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        Opening::Done(Err(FileError::NotFound))
    }

    fn close_file(&mut self, _: FileId) {}

    fn half_close(&mut self) {
        self.network.end_ours(self.line);
    }
}
