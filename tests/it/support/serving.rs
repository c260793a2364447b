//! A small HTTP server of the test's own, on a thread of its own and a free port.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};

/// Serves until dropped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub(crate) fn start(configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, handle) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let server = HttpServer::new(move || App::new().configure(configure.clone()))
                    .workers(1)
                    // A caller that hangs up ends its stream at once: tests watch for that.
                    .h1_allow_half_closed(false)
                    .disable_signals()
                    .shutdown_timeout(0)
                    .listen(listener)
                    .expect("the listener is ours")
                    .run();
                sender.send(server.handle()).expect("the test waits");
                server.await.expect("the fake serves");
            });
        });
        let handle = handle.recv().expect("the server starts");
        Self {
            address,
            handle,
            thread: Some(thread),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The future only sends the order; the thread carries it out.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // A panicked fake has already failed what asked it.
            let _ = thread.join();
        }
    }
}
