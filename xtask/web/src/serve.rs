//! A server for one folder on localhost. Its files are read once; what is not among them does not exist.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::site::{files, gzip};

pub(crate) struct Server {
    listener: TcpListener,
    port: u16,
    files: Arc<HashMap<String, File>>,
}

struct File {
    mime: &'static str,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Server {
    /// On this port; 0 takes any.
    pub(crate) fn new(folder: &Path, port: u16) -> Result<Self> {
        let mut served = HashMap::new();
        for path in files(folder)? {
            let plain = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            served.insert(name, File { mime: mime(&path), packed: gzip(&plain), plain });
        }
        let listener =
            TcpListener::bind(("127.0.0.1", port)).map_err(|e| format!("port {port}: {e}; --port takes another"))?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        Ok(Self { listener, port, files: Arc::new(served) })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}/", self.port)
    }

    /// Answers until the program ends, each connection on a thread of its own.
    pub(crate) fn run(&self) -> Result<()> {
        for stream in self.listener.incoming() {
            let files = self.files.clone();
            let Ok(stream) = stream else { continue };
            // A browser that goes away takes its connection with it: nobody's fault.
            thread::spawn(move || answer_all(&stream, &files));
        }
        Ok(())
    }
}

fn answer_all(stream: &TcpStream, files: &HashMap<String, File>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let (mut line, mut takes_gzip) = (String::new(), false);
        while reader.read_line(&mut line)? > 2 {
            let header = line.to_ascii_lowercase();
            takes_gzip |= header.starts_with("accept-encoding:") && header.contains("gzip");
            line.clear();
        }
        let mut words = request.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let name = target.split(['?', '#']).next().unwrap_or_default().trim_start_matches('/');
        let file = files.get(if name.is_empty() { "index.html" } else { name });
        let (status, mime, body, packed): (_, _, &[u8], _) = match file {
            _ if !["GET", "HEAD"].contains(&method) => ("405 Method Not Allowed", "text/plain", b"GET only", false),
            None => ("404 Not Found", "text/plain", b"no such file", false),
            Some(file) if takes_gzip => ("200 OK", file.mime, &file.packed, true),
            Some(file) => ("200 OK", file.mime, &file.plain, false),
        };
        let encoding = if packed { "Content-Encoding: gzip\r\n" } else { "" };
        let mut out = stream;
        write!(
            out,
            "HTTP/1.1 {status}\r\nContent-Type: {mime}\r\nContent-Length: {}\r\n{encoding}Cache-Control: no-cache\r\n\
             X-Content-Type-Options: nosniff\r\n\r\n",
            body.len()
        )?;
        if method != "HEAD" {
            out.write_all(body)?;
        }
        out.flush()?;
    }
}

fn mime(path: &Path) -> &'static str {
    match path.extension().and_then(|ext| ext.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}
