//! Reading a response's body: chunk by chunk or whole, within the request's deadline and a byte limit.

use bytes::{Bytes, BytesMut};

use super::error::BodyError;

/// The body of one response. Dropping it before the end closes an HTTP/1 connection; reading it to the end hands
/// the connection back for reuse.
#[derive(Debug)]
pub struct BodyReader {}

impl BodyReader {
    /// The next piece as it came from the network (still with its `Content-Encoding`), `None` at the end.
    /// Cancel safe.
    ///
    /// # Errors
    /// The connection broke, or the request's deadline passed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        todo!()
    }

    /// The rest of the body as one piece.
    ///
    /// # Errors
    /// As [`BodyReader::chunk`], and [`BodyError::TooLarge`] as soon as more than `limit` bytes are known to come.
    pub async fn read_all(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let _ = limit;
        let _: BytesMut = BytesMut::new();
        self.chunk().await?;
        todo!()
    }

    /// Appends the rest of the body to `into`, whose capacity can so be reused from one response to the next.
    /// Returns the number of bytes appended.
    ///
    /// # Errors
    /// As [`BodyReader::read_all`]; what was read before the error stays in `into`.
    pub async fn read_into(mut self, into: &mut Vec<u8>, limit: usize) -> Result<usize, BodyError> {
        let _ = (into, limit);
        self.chunk().await?;
        todo!()
    }
}
