//! Tokens of the API, in a table.

use super::Paint;
use super::ago::{ago, took};
use super::table::Table;
use crate::api::tokens::Token;
use crate::units::Time;

/// One row per token.
#[must_use]
pub fn table(tokens: &[Token], now: Time, paint: Paint) -> String {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "MADE", "ENDS", "BY"]);
    for token in tokens {
        let end = token
            .expires_at
            .map_or_else(|| "never".to_owned(), |end| format!("in {}", took(end.since(now))));
        table.row(vec![
            token.id.to_string().into(),
            token.name.clone().unwrap_or_default().into(),
            token.role.word().into(),
            ago(now.since(token.made_at)).into(),
            end.into(),
            token.made_by.to_string().into(),
        ]);
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access::Role;
    use crate::fleet::audit::Client;
    use crate::ids::TokenId;

    #[test]
    fn a_token_says_what_it_may_and_until_when() {
        let token = |name: Option<&str>, expires_at| Token {
            id: TokenId::new("3f2a91bc"),
            name: name.map(str::to_owned),
            role: Role::Operator,
            made_at: Time(0),
            expires_at,
            made_by: Client::new("ana"),
        };
        let later = Some(Time(90 * 86_400_000));
        let tokens =
            [token(Some("ci"), Some(Time(7_200_000))), token(None, None), token(None, later)];
        let text = table(&tokens, Time(3_600_000), Paint::for_terminal(false));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("ci") && lines[1].contains("operator"), "{text}");
        assert!(lines[1].contains("in 1h00m") && lines[2].contains("never"), "{text}");
        assert!(lines[3].contains("in 89d23h"), "{text}");
    }
}
