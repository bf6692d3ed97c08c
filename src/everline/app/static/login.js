// A link carries the admin token, or the code of the set-up, behind the #, which never leaves the browser by itself:
// put it into the form. The token's form is complete with it and is sent.
const code = document.getElementById("code");

addEventListener("hashchange", read);
read();

function read() {
  const found = /[#&]token=([^&]+)/.exec(location.hash);
  if (found && !code) {
    forget();
    document.getElementById("token").value = decodeURIComponent(found[1]);
    document.getElementById("by-token").submit();
  } else if (code && location.hash.length > 1) {
    code.value = decodeURIComponent(location.hash.slice(1));
    forget();
  }
}

function forget() {
  history.replaceState(null, "", location.pathname + location.search);
}
