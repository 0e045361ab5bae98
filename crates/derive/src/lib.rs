//! `#[derive(Record)]` for `drywire_core::record::Record`: the fields one after the
//! other, and in front of an enum's its variant's number, counted from 0.
//!
//! What the trait means, and how plain values are written, is in `drywire-core`.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, Ident, parse_macro_input, parse_quote};

/// Writes a struct or an enum down, field by field, and reads it back.
///
/// Every field has to be `Record`, and so has every type parameter. The order of
/// fields and variants is the format: adding a variant at the end keeps older
/// recordings readable, everything else does not.
///
/// ```
/// use drywire_core::record::Record;
/// use drywire_derive::Record;
///
/// #[derive(Record, Debug, PartialEq)]
/// enum Order {
///     Say { text: String },
///     Wait(u32),
///     Stop,
/// }
///
/// let mut bytes = Vec::new();
/// Order::Say { text: "hello".into() }.record(&mut bytes);
/// assert_eq!(bytes, b"\x00\x05hello");
/// assert_eq!(Order::replay(&mut &bytes[..]), Some(Order::Say { text: "hello".into() }));
/// assert_eq!(Order::replay(&mut &b"\x03"[..]), None, "there is no fourth order");
/// ```
///
/// A union has no fields to write one after the other:
///
/// ```compile_fail
/// #[derive(drywire_derive::Record)]
/// union Either { a: u8, b: u8 }
/// ```
#[proc_macro_derive(Record)]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(input).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(mut input: DeriveInput) -> Result<Tokens, Error> {
    for parameter in input.generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::drywire_core::record::Record));
    }
    let (record, replay) = match &input.data {
        Data::Struct(data) => {
            let (names, pattern) = pattern(&data.fields);
            let replay = construct(&data.fields);
            (
                quote!(let Self #pattern = *self; #(::drywire_core::record::Record::record(#names, out);)*),
                quote!(::core::option::Option::Some(Self #replay)),
            )
        }
        Data::Enum(data) => {
            let mut records = Vec::new();
            let mut replays = Vec::new();
            for (number, variant) in (0u32..).zip(&data.variants) {
                let (name, (names, pattern)) = (&variant.ident, pattern(&variant.fields));
                let replay = construct(&variant.fields);
                records.push(quote!(Self::#name #pattern => {
                    <u32 as ::drywire_core::record::Record>::record(&#number, out);
                    #(::drywire_core::record::Record::record(#names, out);)*
                }));
                replays.push(quote!(#number => ::core::option::Option::Some(Self::#name #replay)));
            }
            (
                quote!(match *self { #(#records)* }),
                quote!(match <u32 as ::drywire_core::record::Record>::replay(from)? {
                    #(#replays,)*
                    _ => ::core::option::Option::None,
                }),
            )
        }
        Data::Union(data) => {
            return Err(Error::new(
                data.union_token.span,
                "a union cannot be recorded: nobody knows which field it holds",
            ));
        }
    };
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::drywire_core::record::Record for #name #type_generics #where_clause {
            #[allow(unused_variables, clippy::all)]
            fn record(&self, out: &mut ::drywire_core::record::Out) {
                #record
            }

            #[allow(unused_variables, clippy::all)]
            fn replay(from: &mut &[u8]) -> ::core::option::Option<Self> {
                #replay
            }
        }
    })
}

/// Names for all fields, and a pattern that binds them.
fn pattern(fields: &Fields) -> (Vec<Ident>, Tokens) {
    let names: Vec<Ident> = (0..fields.len()).map(|index| format_ident!("field_{index}")).collect();
    let members = fields.members();
    (names.clone(), quote!({ #(#members: ref #names),* }))
}

/// All fields, read back in their order.
fn construct(fields: &Fields) -> Tokens {
    let members = fields.members();
    quote!({ #(#members: ::drywire_core::record::Record::replay(from)?),* })
}
