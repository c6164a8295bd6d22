//! One connection: the TLS handshake if there is one, then HTTP/1.1 or HTTP/2 until either side ends it, or its place is
//! needed. Called by [`super::http`]; who may ask is decided by [`crate::web::door`], what is answered by
//! [`super::routes`].

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::routes::{self, Answer, Caller, Site};
use super::seats::{Desk, Seat};
use crate::web::tls::Speech;

const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How much of what a client sends, or does not read, is kept for one connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// Requests at once on a connection of HTTP/2.
const MAX_STREAMS: u32 = 16;
/// What Go's servers say, too.
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Answers what is asked on this connection.
pub async fn converse(stream: TcpStream, seat: Seat, site: Arc<Site>, watcher: Watcher) {
    let over = tokio::select! {
        spoken = speak(stream, &seat, site, watcher) => spoken,
        () = seat.must_be_left() => Err("it asked for nothing for too long, or others needed its place".into()),
    };
    if let Err(error) = over {
        tracing::debug!(%error, "a connection ended early");
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn speak(stream: TcpStream, seat: &Seat, site: Arc<Site>, watcher: Watcher) -> Result<(), Failure> {
    let desk = seat.desk();
    let limits = seat.limits();
    let Some(speech) = site.door.policy().tls.clone() else {
        let talk = Talk { site, desk, caller: Caller::Anybody };
        return talk.http1(stream, limits.idle, watcher).await;
    };
    let handshake = tokio::time::timeout(limits.handshake, shake_hands(stream, &speech));
    let Some(stream) = handshake.await.map_err(|_| "the TLS handshake took too long")?? else {
        return Ok(());
    };
    let connection = stream.get_ref().1;
    let is_known = speech.client_auth.verifies() && connection.peer_certificates().is_some();
    let caller = if is_known { Caller::Authenticated } else { Caller::Anybody };
    let talk = Talk { site, desk, caller };
    if connection.alpn_protocol() == Some(b"h2") {
        talk.http2(stream, watcher).await
    } else {
        talk.http1(stream, limits.idle, watcher).await
    }
}

/// Speaks TLS with a client; one that does not is told so.
async fn shake_hands(mut stream: TcpStream, speech: &Speech) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        tell_not_tls(&mut stream).await?;
        return Ok(None);
    }
    TlsAcceptor::from(Arc::clone(&speech.config)).accept(stream).await.map(Some)
}

/// Reads on for a while: an end with something unread takes the answer along.
async fn tell_not_tls(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(NOT_TLS).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_HEAD_BYTES as u64), &mut tokio::io::sink()).await?;
    Ok(())
}

/// What is needed to answer on one connection.
#[derive(Clone)]
struct Talk {
    site: Arc<Site>,
    desk: Desk,
    caller: Caller,
}

impl Talk {
    async fn http1<S>(self, stream: S, idle: std::time::Duration, watcher: Watcher) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let service = service_fn(move |request| self.clone().answer(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        Ok(watcher.watch(connection).await?)
    }

    async fn http2<S>(self, stream: S, watcher: Watcher) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let service = service_fn(move |request| self.clone().answer(request));
        let window = u32::try_from(BUFFER_BYTES)?;
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES)?)
            .initial_stream_window_size(window)
            .initial_connection_window_size(window)
            .max_send_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        Ok(watcher.watch(connection).await?)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let _answering = self.desk.begin();
        let policy = self.site.door.policy();
        let mut answer = match self.site.door.admit(&policy, self.caller, &request).await {
            Ok(caller) => routes::respond(&self.site, caller, &request).await,
            Err(refusal) => refusal,
        };
        policy.dress(&mut answer);
        Ok(answer)
    }
}
