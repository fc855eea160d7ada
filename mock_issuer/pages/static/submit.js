// The page has one form, with the answer for the app.
document.forms[0].submit();
