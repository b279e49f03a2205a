//! The decoders against a full one (prost, from the published `generated.proto` files), and against garbage.

mod entropy;
mod framing;
mod scanning;
