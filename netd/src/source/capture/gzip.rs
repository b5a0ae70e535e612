//! gzip (RFC 1952): members one after the other, inflated as one stream.
//!
//! The frame around the deflate stream is read here rather than by `flate2::read::MultiGzDecoder`, which drops what it
//! has inflated in the call in which it meets a fault: packets before the fault would be lost with it.

use std::io::{BufRead, BufReader, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::buffer::retry;
use super::error::Fault;

pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

const DEFLATE: u8 = 8;
const INPUT: usize = 64 << 10;

/// Header flags.
const CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// What is wrong with the compressed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GzipDamage {
    #[error("the capture is truncated: its gzip stream ends early")]
    Truncated,
    #[error("the gzip stream is damaged: its deflate data is not valid")]
    Deflate,
    #[error("the gzip stream is damaged: checksum or length differ, so what was read before may be wrong")]
    Checksum,
    #[error("the gzip stream is damaged: a member has a header of an unknown kind")]
    Header,
    #[error("the gzip stream is followed by other data")]
    Trailing,
}

/// Inflates a gzip stream.
pub(super) struct Gunzip {
    input: BufReader<Box<dyn Read + Send>>,
    inflate: Decompress,
    crc: Crc,
    next: Next,
}

/// What the stream must bring next.
enum Next {
    FirstMember,
    Deflate,
    Trailer,
    /// A member, zeros (of a tape or a block device), or the end.
    Member,
    /// Nothing, because of this.
    Fault(GzipDamage),
}

impl Gunzip {
    pub(super) fn new(stream: Box<dyn Read + Send>) -> Self {
        Self {
            input: BufReader::with_capacity(INPUT, stream),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            next: Next::FirstMember,
        }
    }

    /// Inflates into `into` and returns how many bytes; 0 at the end. A fault comes after all that precedes it.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        loop {
            match self.next {
                Next::FirstMember => self.header()?,
                Next::Deflate => match self.inflate(into)? {
                    0 => {}
                    inflated => return Ok(inflated),
                },
                Next::Trailer => self.trailer()?,
                Next::Member => {
                    let Some(byte) = self.skip_zeros()? else { return Ok(0) };
                    if byte != MAGIC[0] {
                        return Err(GzipDamage::Trailing.into());
                    }
                    self.header()?;
                }
                Next::Fault(damage) => return Err(damage.into()),
            }
        }
    }

    fn header(&mut self) -> Result<(), Fault> {
        let [magic0, magic1, method, flags, ..] = self.bytes::<10>()?;
        if [magic0, magic1] != MAGIC || method != DEFLATE || flags & RESERVED != 0 {
            return Err(GzipDamage::Header.into());
        }
        if flags & EXTRA != 0 {
            let length = u16::from_le_bytes(self.bytes()?);
            for _ in 0..length {
                self.bytes::<1>()?;
            }
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                while self.bytes()? != [0] {}
            }
        }
        if flags & CHECKSUM != 0 {
            self.bytes::<2>()?;
        }
        self.inflate.reset(false);
        self.crc.reset();
        self.next = Next::Deflate;
        Ok(())
    }

    /// Returns 0 when the deflate stream has ended or more input is needed.
    fn inflate(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        let input = retry(|| self.input.fill_buf().map(<[u8]>::len))?;
        let (consumed, inflated) = (self.inflate.total_in(), self.inflate.total_out());

        let status = self.inflate.decompress(self.input.buffer(), into, FlushDecompress::None);

        let consumed = self.inflate.total_in().saturating_sub(consumed) as usize;
        let inflated = (self.inflate.total_out().saturating_sub(inflated) as usize).min(into.len());
        self.input.consume(consumed);
        self.crc.update(&into[..inflated]);
        match status {
            Ok(Status::StreamEnd) => self.next = Next::Trailer,
            Ok(Status::Ok | Status::BufError) if inflated > 0 || consumed > 0 => {}
            Ok(Status::Ok | Status::BufError) if input == 0 => self.next = Next::Fault(GzipDamage::Truncated),
            Ok(Status::Ok | Status::BufError) | Err(_) => self.next = Next::Fault(GzipDamage::Deflate),
        }
        Ok(inflated)
    }

    fn trailer(&mut self) -> Result<(), Fault> {
        let crc = u32::from_le_bytes(self.bytes()?);
        let length = u32::from_le_bytes(self.bytes()?);
        if (crc, length) != (self.crc.sum(), self.crc.amount()) {
            return Err(GzipDamage::Checksum.into());
        }
        self.next = Next::Member;
        Ok(())
    }

    /// Returns the next byte that is not zero, without consuming it.
    fn skip_zeros(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            let input = retry(|| self.input.fill_buf().map(<[u8]>::len))?;
            let zeros = self.input.buffer().iter().take_while(|byte| **byte == 0).count();
            let byte = self.input.buffer().get(zeros).copied();
            self.input.consume(zeros);
            if byte.is_some() || input == 0 {
                return Ok(byte);
            }
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            retry(|| self.input.fill_buf().map(|_| ()))?;
            *byte = *self.input.buffer().first().ok_or(GzipDamage::Truncated)?;
            self.input.consume(1);
        }
        Ok(bytes)
    }
}
