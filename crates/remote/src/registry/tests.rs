//! Registries that lead astray.

use super::*;
use std::net::TcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers everything with the same head.
async fn registry(env: &Env, head: impl FnOnce(&str) -> String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let answer = format!("{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", head(&place));
    env.tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    place
}

fn victim() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let place = listener.local_addr().unwrap().to_string();
    (listener, place)
}

#[tokio::test]
async fn no_realm_and_no_redirect_leads_into_this_machine() {
    let env = Env::system();
    let registries = Registries::new(&env, BTreeMap::new());
    let (listener, inside) = victim();
    for scheme in ["http", "https"] {
        let to = format!("{scheme}://{inside}/x");
        let redirect = registry(&env, |_| format!("HTTP/1.1 307 Elsewhere\r\nLocation: {to}"));
        let realm = registry(&env, |_| {
            format!("HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"{to}\"")
        });
        for place in [redirect.await, realm.await] {
            let name = Name::parse(&format!("{place}/app:1")).unwrap();
            let error = registries.bundle(&name, "x86_64").await.unwrap_err();
            let refused =
                matches!(error, PullError::Astray(_) | PullError::Http(HttpError::NotPublic(_)));
            assert!(refused, "{error}");
            // Callers learn nothing about it.
            let text = format!("{place}/app:1");
            let told = registries.pull(&text, "x86_64").await.err().unwrap();
            let expected = format!("The image {text} cannot be pulled.");
            assert_eq!(told, ImageError::Unreachable(expected));
        }
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn registries_may_lead_to_themselves() {
    let env = Env::system();
    let place =
        registry(&env, |place| format!("HTTP/1.1 307 Elsewhere\r\nLocation: http://{place}/again"));
    let name = Name::parse(&format!("{}/app:1", place.await)).unwrap();
    let error = Registries::new(&env, BTreeMap::new()).bundle(&name, "x86_64").await.unwrap_err();
    assert!(matches!(error, PullError::Refused(StatusCode::LOOP_DETECTED)), "{error}");
}

#[test]
fn tls_is_never_left() {
    let own = Uri::from_static("https://r.example/v2/");
    let to = |to: &'static str| reach(&own, &Uri::from_static(to));
    assert!(matches!(to("https://R.example/x"), Ok(Reach::Anywhere)));
    assert!(matches!(to("https://r.example:444/x"), Ok(Reach::Public)));
    assert!(matches!(to("https://blobs.example/x"), Ok(Reach::Public)));
    assert!(matches!(to("http://r.example/x"), Err(PullError::Astray(_))));
    assert!(matches!(to("http://blobs.example/x"), Err(PullError::Astray(_))));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_behind_slow_pulls() {
    let registries = Registries::new(&Env::system(), BTreeMap::new());
    let _all = Arc::clone(&registries.room).acquire_many_owned(AT_A_TIME as u32).await.unwrap();
    let told = registries.pull("127.0.0.1:1/app:1", "x86_64").await.err().unwrap();
    assert!(told.to_string().starts_with("Too many container images"), "{told}");
}

/// Asks everybody for a password, lets nobody in, and keeps what it was told.
async fn closed(env: &Env) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    env.tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let header = text.lines().find(|line| line.starts_with("authorization:"));
            heard.lock().unwrap().push(header.unwrap_or_default().to_owned());
            let answer = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                          Content-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (place, told)
}

#[tokio::test]
async fn a_password_is_for_its_own_registry() {
    let env = Env::system();
    let (place, told) = closed(&env).await;
    let (other, other_told) = closed(&env).await;
    let login = Some(Login { username: "lamp".into(), password: "oil".into() });
    let access = BTreeMap::from([(place.clone(), Access { login, token_server: None })]);
    let registries = Registries::new(&env, access);
    for name in [&place, &other] {
        let name = Name::parse(&format!("{name}/app:1")).unwrap();
        let error = registries.bundle(&name, "x86_64").await.unwrap_err();
        assert!(matches!(error, PullError::Denied), "{error}");
    }
    // Nothing before it was asked for, and once.
    assert_eq!(*told.lock().unwrap(), ["", "authorization: basic bgftcdpvaww="]);
    assert_eq!(*other_told.lock().unwrap(), [""]);
}
