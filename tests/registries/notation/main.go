package main

import (
	"context"
	"fmt"
	"os"
	"time"

	_ "github.com/notaryproject/notation-core-go/signature/cose"
	_ "github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"oras.land/oras-go/v2/registry/remote"
)

func main() {
	reference, key, chain, mediaType, expiry := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	duration, err := time.ParseDuration(expiry)
	check(err)
	generic, err := signer.NewGenericSignerFromFiles(key, chain)
	check(err)
	repository, err := remote.NewRepository(reference)
	check(err)
	repository.PlainHTTP = true
	options := notation.SignOptions{
		SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: mediaType, ExpiryDuration: duration},
		ArtifactReference: repository.Reference.Reference,
	}
	descriptor, err := notation.Sign(context.Background(), generic, notationregistry.NewRepository(repository), options)
	check(err)
	fmt.Println(descriptor.Digest)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
