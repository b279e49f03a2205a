//! The members of an etcd cluster: any of them will do, and one after the other is tried.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use outrigger_model::fault::chain;
use outrigger_model::secret::SecretSource;
use outrigger_rt::grpc::{DuplexReceiver, GrpcCall, GrpcChannel, GrpcCode, GrpcError};
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::{FileError, read_secret};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::messages::{AUTHENTICATE, AuthenticateRequest, AuthenticateResponse};
use crate::store::StoreError;

/// A member that has not answered within this is not waited for.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause after all members have failed.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// A user that etcd knows.
#[derive(Debug, Clone)]
pub struct EtcdLogin {
    /// Name.
    pub user: String,
    /// Password; a file is read anew for each login.
    pub password: SecretSource,
}

/// Why a call could not get its headers.
enum LoginError {
    Password(FileError),
    Etcd(GrpcError),
}

pub(super) struct Endpoints {
    channels: Vec<GrpcChannel>,
    /// The one that answered last.
    current: AtomicUsize,
    login: Option<EtcdLogin>,
    token: Mutex<Option<HeaderValue>>,
    trouble: Mutex<Option<String>>,
    failures: LogLimit,
}

/// A stream with one member.
pub(super) struct Opened<Req, Res> {
    pub(super) member: usize,
    pub(super) to: mpsc::Sender<Req>,
    pub(super) from: DuplexReceiver<Res>,
}

impl Endpoints {
    /// At least one channel.
    pub(super) fn new(channels: Vec<GrpcChannel>, login: Option<EtcdLogin>) -> Self {
        Self {
            channels,
            current: AtomicUsize::new(0),
            login,
            token: Mutex::default(),
            trouble: Mutex::default(),
            failures: LogLimit::new(Duration::from_secs(30)),
        }
    }

    /// What keeps it from working; `None` when the last call has worked.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// One call at the first member that answers.
    pub(super) async fn call<Req, Res>(
        &self,
        path: &'static str,
        message: Req,
        timeout: Duration,
    ) -> Result<Res, StoreError>
    where
        Req: Message + Clone + 'static,
        Res: Message + Default + 'static,
    {
        let attempt = |channel: GrpcChannel, call: GrpcCall| {
            let message = message.clone();
            async move { channel.unary(call, message).await }
        };
        self.somewhere(path, timeout, attempt).await.map(|(_, response)| response)
    }

    /// A stream at the first member that opens one.
    pub(super) async fn open<Req, Res>(
        &self,
        path: &'static str,
        first: Req,
        timeout: Duration,
    ) -> Result<Opened<Req, Res>, StoreError>
    where
        Req: Message + Clone + 'static,
        Res: Message + Default + 'static,
    {
        let attempt = |channel: GrpcChannel, call: GrpcCall| {
            let first = first.clone();
            async move { channel.open_duplex(call, Some(first)).await }
        };
        let (member, (to, from)) = self.somewhere(path, timeout, attempt).await?;
        Ok(Opened { member, to, from })
    }

    /// A stream with this member has failed: the next call goes to another one.
    pub(super) fn avoid(&self, member: usize) {
        let next = (member + 1) % self.channels.len();
        let _ = self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The credentials of before are refused: asks for new ones with the next call.
    pub(super) fn forget_login(&self) {
        *self.token.lock() = None;
    }

    async fn somewhere<T, F>(
        &self,
        path: &'static str,
        timeout: Duration,
        attempt: impl Fn(GrpcChannel, GrpcCall) -> F,
    ) -> Result<(usize, T), StoreError>
    where
        F: Future<Output = Result<T, GrpcError>>,
    {
        let deadline = Instant::now() + timeout;
        let mut logged_in_anew = false;
        let mut failed_in_a_row = 0;
        loop {
            let member = self.current.load(Ordering::Relaxed) % self.channels.len();
            let patience = ATTEMPT_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
            let result = match self.headers(member, patience).await {
                Ok(headers) => {
                    let call = GrpcCall { path, headers, timeout: patience };
                    attempt(self.channels[member].clone(), call).await
                }
                Err(LoginError::Password(error)) => return Err(StoreError::Password(error)),
                Err(LoginError::Etcd(error)) => Err(error),
            };
            let error = match result {
                Ok(answer) => {
                    *self.trouble.lock() = None;
                    return Ok((member, answer));
                }
                Err(error) => error,
            };
            match judge(&error) {
                Verdict::LogIn if self.login.is_some() && !logged_in_anew => {
                    logged_in_anew = true;
                    self.forget_login();
                    continue;
                }
                Verdict::Final | Verdict::LogIn => return Err(self.failed(error)),
                Verdict::Full => {
                    let error = StoreError::EtcdFull { endpoints: self.names() };
                    *self.trouble.lock() = Some(error.to_string());
                    return Err(error);
                }
                Verdict::NextMember => {
                    if let Some(suppressed) = self.failures.permit(&self.channels[member].address()) {
                        tracing::warn!(error = %chain(&error), suppressed, "an etcd member does not serve");
                    }
                    self.avoid(member);
                    failed_in_a_row += 1;
                }
            }
            let pause = if failed_in_a_row % self.channels.len() == 0 { ROUND_PAUSE } else { Duration::ZERO };
            if Instant::now() + pause >= deadline {
                return Err(self.failed(error));
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn failed(&self, source: GrpcError) -> StoreError {
        let error = StoreError::Etcd { endpoints: self.names(), source: Box::new(source) };
        *self.trouble.lock() = Some(chain(&error));
        error
    }

    pub(super) fn names(&self) -> String {
        self.channels.iter().map(|channel| channel.address().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// What each call carries: that a member without a leader is to refuse it, and the token.
    async fn headers(&self, member: usize, timeout: Duration) -> Result<HeaderMap, LoginError> {
        let mut headers = HeaderMap::new();
        headers.insert("hasleader", HeaderValue::from_static("true"));
        if let Some(login) = &self.login {
            let known = self.token.lock().clone();
            let token = match known {
                Some(token) => token,
                None => self.log_in(login, member, headers.clone(), timeout).await?,
            };
            headers.insert("token", token);
        }
        Ok(headers)
    }

    async fn log_in(
        &self,
        login: &EtcdLogin,
        member: usize,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<HeaderValue, LoginError> {
        let password = read_secret(&login.password).map_err(LoginError::Password)?;
        let request =
            AuthenticateRequest { name: login.user.clone(), password: password.expose().to_owned() };
        let call = GrpcCall { path: AUTHENTICATE, headers, timeout };
        let answer = self.channels[member].unary(call, request).await;
        let AuthenticateResponse { token } = answer.map_err(LoginError::Etcd)?;
        let mut token = HeaderValue::try_from(token).unwrap_or_else(|_| HeaderValue::from_static(""));
        token.set_sensitive(true);
        *self.token.lock() = Some(token.clone());
        Ok(token)
    }
}

/// What an error asks for.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Every member would say the same.
    Final,
    /// Another member may do it.
    NextMember,
    /// A new token may do it.
    LogIn,
    /// Every member is out of space.
    Full,
}

fn judge(error: &GrpcError) -> Verdict {
    let GrpcError::Status { code, message, .. } = error else { return Verdict::NextMember };
    match code {
        GrpcCode::Unauthenticated => Verdict::LogIn,
        // "revision of auth store is old": users or roles have changed since the token was made.
        GrpcCode::InvalidArgument if message.contains("revision of auth store") => Verdict::LogIn,
        GrpcCode::ResourceExhausted if message.contains("space exceeded") => Verdict::Full,
        GrpcCode::InvalidArgument
        | GrpcCode::PermissionDenied
        | GrpcCode::NotFound
        | GrpcCode::OutOfRange
        | GrpcCode::Unimplemented => Verdict::Final,
        _ => Verdict::NextMember,
    }
}
