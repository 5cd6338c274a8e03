// A TLS client by rustls: PORT CA TIMES CERT KEY, all in DER. Each time a request, a half-close, and all that comes. Version 0.20 does
// not report whether a session was resumed.
use rustls::{Certificate, ClientConfig, ClientConnection, PrivateKey, RootCertStore, ServerName, Stream};
use std::{env, error::Error, fs, io::Read, io::Write, net::TcpStream, sync::Arc};

fn once(port: u16, config: &Arc<ClientConfig>) -> Result<(), Box<dyn Error>> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
    let mut session = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
    Stream::new(&mut session, &mut tcp).write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    session.send_close_notify();
    let mut answer = Vec::new();
    Stream::new(&mut session, &mut tcp).read_to_end(&mut answer)?; // an end without close_notify is an error
    println!("bytes {} resumed unknown", answer.len());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let mut roots = RootCertStore::empty();
    roots.add(&Certificate(fs::read(&arguments[2])?))?;
    let config = ClientConfig::builder().with_safe_defaults().with_root_certificates(roots);
    let config = Arc::new(if arguments.len() > 5 {
        config.with_single_cert(vec![Certificate(fs::read(&arguments[4])?)], PrivateKey(fs::read(&arguments[5])?))?
    } else {
        config.with_no_client_auth()
    });
    for _ in 0..arguments[3].parse()? {
        once(arguments[1].parse()?, &config)?;
    }
    Ok(())
}
