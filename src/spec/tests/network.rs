//! Proxies: what is refused, and that passwords are shown nowhere.

use super::*;

const BASE: &str = "version: 1\npools: [{name: a, profile: light}]\n";

#[test]
fn a_proxys_password_stays_in_its_variable() {
    let text = format!(
        "{BASE}proxy: {{https: \"http://${{WHO}}:${{PROXY_PASSWORD}}@proxy:3128\", \
         no_proxy: [.lan]}}\n"
    );
    let env = [("WHO", "me"), ("PROXY_PASSWORD", "p%40")];
    let loaded = load_all(&[&text], &env).expect("it should load");
    let proxy = loaded.spec.proxy.clone().expect("a proxy");
    let variables = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let whole = proxy.https.expect("an address").open(&variables).expect("they are set");
    assert_eq!(whole.reveal(), "http://me:p%40@proxy:3128");
    let shown = loaded.render_masked();
    assert!(shown.contains("https: \"http://${WHO}:${PROXY_PASSWORD}@proxy:3128\""), "{shown}");
    assert_eq!(load_all(&[&shown], &env).expect("it is a fleet file").spec, loaded.spec);
    let json = serde_json::to_string(&loaded.spec).expect("JSON");
    for text in [shown, json, format!("{:?}", loaded.spec)] {
        assert!(!text.contains("p%40") && !text.contains("//me"), "{text}");
    }
}

#[test]
fn a_password_in_the_file_is_refused_without_showing_it() {
    let text = format!("{BASE}proxy:\n  http: http://me:hunter2@proxy:3128\n");
    let expected = "\
error: this looks like a secret: the address holds a user or a password
 --> slate.yaml:4:9
  |
4 |   http: http://***@proxy:3128
  |         ^^^^^^^^^^^^^^^^^^^^^
  help: secrets never enter the file: put them into `.env` and write \
`http://${PROXY_USER}:${PROXY_PASSWORD}@proxy.example:3128`

1 error; nothing was changed";
    assert_eq!(errors_of(&text), expected);
}

#[test]
fn a_password_beside_a_variable_is_refused_like_one_alone() {
    for address in ["http://me:hunter2@${HOST}:1", "http://me:${WORD:-hunter2}@proxy:1"] {
        let text = format!("{BASE}proxy:\n  http: {address}\n");
        let found = load_all(&[&text], &[("HOST", "proxy")]).map(|it| it.spec);
        let found = found.expect_err("it is refused").to_string();
        assert!(found.contains("this looks like a secret") && found.contains(":4:9"), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn what_is_no_proxy_is_refused_with_its_place_and_what_would_be_right() {
    let table = [
        ("{http: 'proxy:3128'}", "`proxy:3128` is no address of a proxy"),
        ("{http: 'http://me:a/b@proxy'}", "`http://***@proxy` is no address of a proxy"),
        ("{http: 'http://proxy:x'}", "`http://proxy:x` is no address of a proxy"),
        ("{no_proxy: [a]}", "`proxy` has neither `http` nor `https`"),
        ("{http: 'http://p:1', no_proxy: ['a,b']}", "`a,b` is no host"),
        ("{http: 'http://p:1', https_proxy: x}", "unknown key `https_proxy` in `proxy`"),
    ];
    for (keys, message) in table {
        let shown = errors_of(&format!("{BASE}proxy: {keys}\n"));
        assert!(shown.contains(&format!("error: {message}\n --> slate.yaml:3:")), "{shown}");
        assert!(shown.contains("help: "), "{shown}");
        assert!(!shown.contains("a/b"), "{shown}");
    }
}
