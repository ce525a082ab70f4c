package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

// NewOwner makes the id of this life of the process that works in a folder:
// FOLDER/NONCE. The folder's identity is a random id kept in the folder, not
// its path.
func NewOwner(folder string) (Owner, error) {
	if folder == "" || strings.ContainsRune(folder, '/') {
		return "", fmt.Errorf("folder identity %q is empty or has a slash", folder)
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return Owner(folder + "/" + hex.EncodeToString(nonce[:])), nil
}

// Folder is the identity of the folder that the owner works in.
func (o Owner) Folder() string {
	folder, _, ok := strings.Cut(string(o), "/")
	if !ok {
		return ""
	}
	return folder
}

// SameFolder is the proof (Options.Proof) of a process that has the exclusive
// lock on its folder: every other owner of the folder is dead.
func SameFolder(me Owner) func(Owner) bool {
	folder := me.Folder()
	return func(o Owner) bool { return folder != "" && o != me && o.Folder() == folder }
}
