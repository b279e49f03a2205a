use crate::protobuf::{ProtobufError, Reader, Writer};

/// `meta/v1` Status: the answer of the API server to a request that failed, and the object of an ERROR event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// `Failure` or `Success`.
    pub status: String,
    /// For people.
    pub message: String,
    /// One word for programs: `Forbidden`, `Expired`, `TooManyRequests`, …
    pub reason: String,
    /// HTTP status code; 0 when not set.
    pub code: i32,
    /// `details.name`.
    pub name: String,
    /// `details.group`.
    pub group: String,
    /// `details.kind`: the resource's plural, in spite of its name.
    pub kind: String,
    /// `details.causes`, at most [`Status::MAX_CAUSES`] of them.
    pub causes: Vec<StatusCause>,
    /// `details.retryAfterSeconds`; `None` when absent or zero.
    pub retry_after_seconds: Option<u32>,
}

/// One of the reasons within a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusCause {
    /// One word for programs.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The field of the object it is about.
    pub field: String,
}

impl Status {
    /// Causes beyond this number are left out.
    pub const MAX_CAUSES: usize = 64;

    /// Reads the message (without envelope).
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(message: &[u8]) -> Result<Self, ProtobufError> {
        let mut status = Self::default();
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                2 => status.status = lossy(field.bytes(2)?),
                3 => status.message = lossy(field.bytes(3)?),
                4 => status.reason = lossy(field.bytes(4)?),
                5 => status.decode_details(field.bytes(5)?)?,
                6 => status.code = field.int32(6)?,
                _ => {}
            }
        }
        Ok(status)
    }

    fn decode_details(&mut self, message: &[u8]) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => self.name = lossy(field.bytes(1)?),
                2 => self.group = lossy(field.bytes(2)?),
                3 => self.kind = lossy(field.bytes(3)?),
                4 if self.causes.len() < Self::MAX_CAUSES => {
                    self.causes.push(StatusCause::decode(field.bytes(4)?)?);
                }
                5 => self.retry_after_seconds = u32::try_from(field.int32(5)?).ok().filter(|s| *s > 0),
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends the message (without envelope).
    pub fn encode(&self, into: &mut Vec<u8>) {
        let mut writer = Writer::new(into);
        writer.message(1, |list_meta| {
            list_meta.string(1, "");
            list_meta.string(2, "");
            list_meta.string(3, "");
        });
        writer.string(2, &self.status);
        writer.string(3, &self.message);
        writer.string(4, &self.reason);
        writer.message(5, |details| {
            details.string(1, &self.name);
            details.string(2, &self.group);
            details.string(3, &self.kind);
            for cause in &self.causes {
                details.message(4, |writer| {
                    writer.string(1, &cause.reason);
                    writer.string(2, &cause.message);
                    writer.string(3, &cause.field);
                });
            }
            details.int(5, i64::from(self.retry_after_seconds.unwrap_or(0)));
            details.string(6, "");
        });
        writer.int(6, i64::from(self.code));
    }
}

impl StatusCause {
    fn decode(message: &[u8]) -> Result<Self, ProtobufError> {
        let mut cause = Self::default();
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => cause.reason = lossy(field.bytes(1)?),
                2 => cause.message = lossy(field.bytes(2)?),
                3 => cause.field = lossy(field.bytes(3)?),
                _ => {}
            }
        }
        Ok(cause)
    }
}

/// Text for people: an error report with a bad byte is still worth showing.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
